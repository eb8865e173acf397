"""``--set``, and what of a configuration may change on ``--resume``."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_leyline import EsperError, override
from esper_leyline.config.overrides import flatten_config
from esper_tolaria import find_preset
from esper_train import main
from esper_train.settings.options import HEURISTIC_FLAGS, PPO_FLAGS, SetOptions, SourceOptions
from esper_train.settings.resolve import plan_heuristic, plan_ppo, plan_resume
from esper_train.settings.resume import RESUMABLE

PATH = Path("runs/one/checkpoints/round-00040.safetensors")


def planned(*changes: str, flags=None, **source):
    return plan_ppo(
        flags or PPO_FLAGS(device="cpu"),
        SourceOptions(set=list(changes), **({"preset": "digits"} | source)),
    ).config


def resumed(manifest, *changes: str, **flags):
    return plan_resume(
        manifest,
        PPO_FLAGS(device="cpu", **flags),
        SourceOptions(set=list(changes)),
        path=PATH,
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ppo.learning_rate=1e-4", 1e-4),
        ("ppo.target_kl=null", None),
        ("ppo.scale_rewards=false", False),
        ("reward.mode=sparse", "sparse"),
        ('reward.ablate=["rent"]', ["rent"]),
        ("data_root=a=b", "a=b"),
        ("policy.floors.op=0.2", 0.2),
        ("host.batch_size=64", 64),
        ("n_episodes=7", 7),
    ],
)
def test_any_key_can_be_set(text: str, value: object) -> None:
    config = planned(text)
    assert flatten_config(config.model_dump(mode="json"))[text.partition("=")[0]] == value


def test_several_keys_and_whole_sections_can_be_set() -> None:
    config = planned("ppo.clip=0.1", 'ppo={"epochs": 3, "gamma": 0.9}', "ppo.entropy_final=0.001")
    assert (config.ppo.clip, config.ppo.epochs, config.ppo.gamma) == (0.1, 3, 0.9)
    assert config.ppo.learning_rate == find_preset("digits").ppo.learning_rate


def test_spellings_of_the_top_level_can_be_set() -> None:
    assert planned("reward_mode=sparse") == planned("reward.mode=sparse")


FLAGS = {
    "rounds": 3,
    "envs": 2,
    "episode_length": 5,
    "ppo_epochs": 2,
    "memory_size": 16,
    "entropy_anneal_episodes": 30,
    "seed": 5,
    "max_seeds": 1,
    "slots": ["r0c1"],
    "task": "mnist1d",
    "device": "cpu",
    "devices": ["cpu"],
    "workers": 1,
    "data_root": "elsewhere",
    "amp": True,
    "num_workers": 1,
    "compile_mode": "off",
    "checkpoint_every": 3,
    "checkpoint_minutes": 0.5,
    "checkpoint_keep": 0,
    "telemetry_level": "debug",
    "telemetry_lifecycle_only": True,
    "ppo_clip": 0.1,
    "ppo_normalize_values": False,
    "reward_mode": "sparse",
    "reward_ablate": ["rent"],
    "host_batch_size": 64,
    "governor_divergence_patience": 7,
}
KEYS = {each.name: each.metadata["key"] for each in fields(PPO_FLAGS)}


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_and_its_key_do_the_same(name: str) -> None:
    base = {} if name == "task" else {"preset": "digits"}
    settings = [f"{KEYS[name]}={json.dumps(FLAGS[name])}"]
    by_flag = plan_ppo(PPO_FLAGS(**{name: FLAGS[name]}), SourceOptions(**base))
    by_key = plan_ppo(PPO_FLAGS(), SourceOptions(set=settings, **base))
    assert by_flag.config == by_key.config
    assert flatten_config(by_flag.config.model_dump(mode="json"))[KEYS[name]] == FLAGS[name]


def test_numbers_by_name_are_merged_into_those_of_the_preset() -> None:
    flags = PPO_FLAGS(device="cpu", policy_floors=["op=0.2"], ppo_entropy_multipliers=["op=0.5"])
    before, config = find_preset("digits"), planned(flags=flags)
    assert config.policy.floors == before.policy.floors | {"op": 0.2}
    assert config.ppo.entropy_multipliers == before.ppo.entropy_multipliers | {"op": 0.5}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("op", ["--policy-floors 'op'", "NAME=NUMBER"]),
        ("=1", ["--policy-floors '=1'", "NAME=NUMBER"]),
        ("op=much", ["--policy-floors op", "'much'"]),
        ("op=2", ["--policy-floors op", "less than 1"]),
        ("opp=0.1", ["--policy-floors opp"]),
    ],
)
def test_a_mistake_in_numbers_by_name_is_one_line(text: str, parts, capsys) -> None:
    assert main(["ppo", "--preset", "digits", "--policy-floors", text]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    for part in parts:
        assert part in message


MISTAKES = MappingProxyType(
    {
        "no value": (["ppo.clip"], ["'ppo.clip'", "KEY=VALUE"]),
        "no key": (["=3"], ["'=3'", "KEY=VALUE"]),
        "a key without end": (["a" * 100_000 + "=3"], ["KEY=VALUE"]),
        "unknown key": (["ppo.learning_rat=1"], ["'ppo.learning_rat'", "'ppo.learning_rate'"]),
        "empty part of a key": (["ppo..clip=0.1"], ["--set: unknown key"]),
        "a key in a number": (["seed.more=1"], ["--set: 'seed'", "integer"]),
        "a word for a number": (["ppo.clip=small"], ["'ppo.clip'", "'small'"]),
        "not a number": (["ppo.clip=NaN"], ["'ppo.clip'", "'NaN'"]),
        "nothing": (["ppo.clip="], ["'ppo.clip'", "''"]),
        "out of range": (["ppo.clip=2"], ["'ppo.clip'", "less than 1", "2"]),
        "a float for an integer": (["n_envs=2.5"], ["'n_envs'", "2.5"]),
        "a number of too many digits": (["n_envs=" + "9" * 400], ["'n_envs'"]),
        "broken JSON": (['reward.ablate=["rent"'], ["reward.ablate", "not JSON"]),
        "a key twice in an object": (['ppo={"clip": 0.1, "clip": 0.2}'], ["'clip' twice"]),
        "nested without end": (["ppo=" + "[" * 5000], ["--set ppo", "levels deep"]),
        "a key twice": (["ppo.clip=0.1", "ppo.clip=0.2"], ["--set ppo.clip", "same setting"]),
        "a section and a key in it": (
            ["ppo=null", "ppo.clip=0.2"],
            ["--set ppo", "--set ppo.clip", "same setting"],
        ),
        "two spellings": (["reward_mode=basic", "reward.mode=basic"], ["same setting"]),
        "an empty object": (["ppo={}"], ["--set ppo", "changes nothing"]),
        "no name of a task": (["task=5"], ["'task'", "5"]),
        "unknown task": (["task=mnist"], ["'mnist'"]),
        "unknown device": (["device=cuda:77"], ["cuda:77", "cpu"]),
        "no feature of the host": (["host.batch_size=0"], ["'host.batch_size'", "0"]),
    }
)


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("command", ["ppo", "heuristic"])
def test_a_mistake_is_named(
    command: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, parts = MISTAKES[name]
    runs = tmp_path / "runs"
    words = [word for change in changes for word in ("--set", change)]
    assert main([command, *words, "--runs", str(runs)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert len(message) < 2500
    for part in parts:
        assert part in message
    assert not runs.exists()


TOGETHER = {
    "more minibatches than hosts": (
        ["ppo", "--preset", "digits", "--envs", "2", "--set", "ppo.minibatches=4"],
        ["ppo.minibatches is 4", "2 environments"],
    ),
    "augmented signals": (
        ["ppo", "--preset", "mnist1d_blind", "--set", "host.augmentation.flip=true"],
        ["host.augmentation", "(1, 40)"],
    ),
    "augmented signals, by rules": (
        ["heuristic", "--task", "mnist1d_blind", "--set", "host.augmentation.flip=true"],
        ["host.augmentation", "(1, 40)"],
    ),
    "a part that the mode lacks, by rules": (
        ["heuristic", "--set", "reward.mode=sparse", "--set", 'reward.ablate=["drip"]'],
        ["reward.ablate", "'drip'", "'sparse'"],
    ),
    "nothing left of a mode": (
        ["ppo", "--set", "reward.mode=sparse", "--set", 'reward.ablate=["terminal", "rent"]'],
        ["reward.ablate"],
    ),
    "a gather with loaders": (
        ["ppo", "--num-workers", "1", "--set", "feed.gpu_preload_gather=true"],
        ["feed.gpu_preload_gather", "feed.num_workers"],
    ),
    "a type without --amp": (["ppo", "--set", "amp_dtype=float16"], ["--set amp_dtype float16"]),
    "compiled and not compiled": (
        ["ppo", "--preset", "digits", "--compile-mode", "off", "--set", "compile.force=true"],
        ["--force-compile", "--compile-mode off"],
    ),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_contradicting_settings_leave_nothing_behind(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, parts = TOGETHER[name]
    runs = tmp_path / "runs"
    assert main([*words, "--device", "cpu", "--runs", str(runs)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    for part in parts:
        assert part in message
    assert not runs.exists()


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--rounds", "3", "--set", "n_episodes=3"], ["--rounds", "--set n_episodes"]),
        (["--set", "ppo.epochs=3", "--ppo-epochs", "3"], ["--ppo-epochs", "--set ppo.epochs"]),
        (["--set", 'ppo={"epochs": 3}', "--ppo-epochs", "3"], ["--ppo-epochs", "--set ppo.epochs"]),
        (["--device", "cpu", "--set", "device=cpu"], ["--device", "--set device"]),
        (["--set"], ["--set"]),
        (["--dual-ab", "shaped-vs-sparse", "--set", "reward_mode=basic"], ["--set reward.mode"]),
    ],
)
def test_one_setting_is_given_once(flags, parts, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ppo", *flags]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    for part in parts:
        assert part in message


def test_rules_take_settings_too() -> None:
    options = SetOptions(set=["governor.divergence_patience=7"])
    config = plan_heuristic(HEURISTIC_FLAGS(task="digits", device="cpu"), options).config
    assert config.governor.divergence_patience == 7
    assert (config.n_episodes, config.n_envs, config.max_epochs) == (1, 1, 75)
    assert config.host is not None
    assert config.host.max_batches == 50


def test_device_has_to_be_one_of_devices() -> None:
    with pytest.raises(EsperError, match="--set device cpu is none of --set devices cuda:0"):
        planned("device=cpu", 'devices=["cuda:0"]', flags=PPO_FLAGS())


# What may change on a resumption.


@given(done=st.integers(1, 50), wanted=st.none() | st.integers(1, 50), saved=st.integers(1, 50))
@settings(max_examples=30, deadline=None)
def test_a_resumed_run_has_rounds_left(manifest_of, done: int, wanted: int, saved: int) -> None:
    config = override(find_preset("digits"), {"n_episodes": saved, "device": "cpu"})
    manifest = manifest_of(config, done=done)
    rounds = saved if wanted is None else wanted
    if rounds > done:
        plan = resumed(manifest, rounds=wanted)
        assert plan.config.n_episodes == rounds
        return
    with pytest.raises(EsperError) as caught:
        resumed(manifest, rounds=wanted)
    rounds = "round" if done == 1 else "rounds"
    assert f"has {done} {rounds} done; give --rounds more than {done}" in str(caught.value)
    assert str(PATH) in str(caught.value)


@pytest.mark.parametrize("flags", [(), ("--rounds", "1"), ("--rounds", "2")])
def test_a_finished_run_is_not_resumed(
    flags, ppo_run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(ppo_run.directory / str(ppo_run.summary.checkpoint))
    runs = tmp_path / "runs"
    assert main(["ppo", "--resume", checkpoint, *flags, "--runs", str(runs)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"'{checkpoint}' has 2 rounds done; give --rounds more than 2" in message
    assert not runs.exists()


@pytest.fixture
def manifest(manifest_of):
    return manifest_of(override(find_preset("digits"), {"device": "cpu"}), done=3)


def test_a_resumable_setting_can_be_changed_and_is_noted(manifest) -> None:
    before = manifest.config.ppo
    plan = resumed(manifest, "ppo.learning_rate=0.0001", "ppo.entropy_multipliers.op=0.5")
    assert plan.config.ppo.learning_rate == 1e-4
    assert plan.config.ppo.entropy_multipliers == before.entropy_multipliers | {"op": 0.5}
    assert (
        f"ppo.learning_rate: {before.learning_rate} in the checkpoint, 0.0001 from now on"
        in plan.notes
    )
    changed = {"ppo": plan.config.ppo.model_dump(mode="json"), "slots": plan.config.slots}
    assert plan.config == override(manifest.config, changed)


def test_every_key_is_allowed_or_refused_by_its_name(manifest) -> None:
    values = flatten_config(manifest.config.model_dump(mode="json"))
    for name in RESUMABLE:
        assert any(f"{key}.".startswith(f"{name}.") for key in values), name
    for key in values:
        if any(f"{key}.".startswith(f"{name}.") for name in RESUMABLE):
            continue
        with pytest.raises(EsperError) as caught:
            resumed(manifest, f"{key}=1")
        assert f"--set {key} cannot change with --resume" in str(caught.value)
        assert ", ".join(RESUMABLE) in str(caught.value)


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_may_change_what_its_key_may(name: str, manifest) -> None:
    value = 50 if name == "rounds" else FLAGS[name]
    allowed = any(f"{KEYS[name]}.".startswith(f"{key}.") for key in RESUMABLE)
    if not allowed:
        flag = f"--{name.replace('_', '-')}"
        with pytest.raises(EsperError, match=f"^{flag} cannot change with --resume"):
            plan_resume(manifest, PPO_FLAGS(**{name: value}), SourceOptions(), path=PATH)
        return
    plan = plan_resume(manifest, PPO_FLAGS(**{name: value}), SourceOptions(), path=PATH)
    values = flatten_config(plan.config.model_dump(mode="json"))
    assert values[KEYS[name]] == value


@pytest.mark.parametrize("flag", ["--preset", "--config-json"])
def test_a_resumed_run_has_its_config(
    flag: str, ppo_run, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(ppo_run.directory / str(ppo_run.summary.checkpoint))
    assert main(["ppo", "--resume", checkpoint, flag, "digits"]) == 2
    assert f"{flag} digits does not go with --resume" in capsys.readouterr().err
