"""A field of a configuration model is a flag: its name, help, range and choices."""

from __future__ import annotations

from dataclasses import fields
from typing import Literal

import pytest
from cyclopts import App
from pydantic import Field

from esper_leyline import PPOConfig, TrainingConfig
from esper_leyline.config.overrides import flatten_config
from esper_leyline.wire import Settings
from esper_tolaria import find_preset, preset_names
from esper_train import main
from esper_train.settings import flags
from esper_train.settings.options import HEURISTIC_FLAGS, PPO_FLAGS


class Novel(Settings):
    """A component that is not there yet."""

    gain: float = Field(default=0.5, ge=0, lt=2, description="Gain of the novelty.")
    kind: Literal["a", "b"] = "a"


class Extended(TrainingConfig):
    """A configuration with one more component, and one more field in another."""

    novel: Novel = Novel()
    patience: int | None = Field(default=None, ge=1, le=9, description="Rounds of patience.")


@pytest.fixture
def extended(monkeypatch: pytest.MonkeyPatch) -> App:
    """A command with a flag for each field of ``Extended``."""
    monkeypatch.setattr(flags, "TrainingConfig", Extended)
    flags.settings.cache_clear()
    app = App(result_action="return_value")
    made = flags.make_flags("Made", ("novel", "patience"))

    @app.default
    @flags.with_flags(settings=made)
    def command(*, settings: object = made()) -> object:
        return settings

    yield app
    monkeypatch.undo()
    flags.settings.cache_clear()


def test_a_new_field_is_a_flag_with_help_and_range(
    extended: App, capsys: pytest.CaptureFixture[str]
) -> None:
    extended(["--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--novel-gain FLOAT Gain of the novelty. From 0, below 2. Default: 0.5." in shown
    assert "--patience INT Rounds of patience. From 1 to 9." in shown
    assert "[choices: a, b]" in shown
    given = extended(["--novel-gain", "1.5", "--patience", "3", "--novel-kind", "b"])
    assert (given.novel_gain, given.patience, given.novel_kind) == (1.5, 3, "b")


def test_every_field_is_a_flag_of_ppo() -> None:
    keys = {each.metadata["key"] for each in fields(PPO_FLAGS)}
    assert keys == set(flags.settings())
    sections = {key.partition(".")[0] for key in keys}
    assert sections == set(TrainingConfig.model_fields)
    assert {f"ppo.{name}" for name in PPOConfig.model_fields} <= keys
    assert set(flags.SHORT_NAMES) - {"rng_seed"} <= keys


def test_no_two_fields_have_one_flag() -> None:
    for made in (PPO_FLAGS, HEURISTIC_FLAGS):
        keys = [each.metadata["key"] for each in fields(made)]
        assert len(keys) == len(set(keys))


def test_fields_have_help_and_groups_have_their_own_flags() -> None:
    for setting in flags.settings().values():
        assert setting.description.endswith(".")
        assert flags.help_of(setting).endswith(".")


def test_the_defaults_shown_are_those_of_the_models() -> None:
    values = flatten_config(TrainingConfig().model_dump(mode="json"))
    for key in ("ppo.gamma", "governor.snapshot_every", "amp", "reward.mode"):
        assert flags.show_default(flags.settings()[key]) == {True: "on", False: "off"}.get(
            values[key], f"{values[key]}"
        )


def test_a_boolean_can_be_switched_off(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--preset", "digits", "--no-ppo-normalize-values"]) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if "normalize_values" in x]
    assert line.split() == ["ppo.normalize_values", "false", "--no-ppo-normalize-values"] or (
        line.split() == ["ppo.normalize_values", "false", "--ppo-normalize-values"]
    )


def test_the_keys_that_presets_set_are_those_of_the_presets() -> None:
    found = set()
    for name in preset_names():
        found |= set(flatten_config(find_preset(name).model_dump(mode="json", exclude_unset=True)))
    known = {key for key in flags.settings() if any(f"{x}.".startswith(f"{key}.") for x in found)}
    assert known == flags.SET_BY_PRESETS


def test_every_numeric_setting_has_a_range() -> None:
    numbers = [each for each in flags.settings().values() if each.kind in (int, float)]
    assert len(numbers) > 50
    assert [each.key for each in numbers if each.range is None] == []
