"""``--compile-mode`` and ``--force-compile``: what compiles where."""

from __future__ import annotations

from pathlib import Path

import pytest

from esper_leyline import EsperError, override
from esper_leyline.config.training import CompileConfig
from esper_tolaria import find_preset
from esper_train.settings.machine import choose_compilation
from esper_train.settings.options import PPO_FLAGS, SourceOptions
from esper_train.settings.resolve import plan_ppo, plan_resolved, plan_resume


@pytest.mark.parametrize(
    ("wanted", "device", "mode"),
    [
        ({}, "cpu", None),
        ({}, "cuda:0", "default"),
        ({"force": True}, "cpu", "default"),
        ({"mode": "max-autotune"}, "cpu", "max-autotune"),
        ({"mode": "reduce-overhead"}, "cuda:1", "reduce-overhead"),
        ({"mode": "off"}, "cpu", None),
        ({"mode": "off"}, "cuda:0", None),
    ],
)
def test_the_mode_decides_what_is_compiled(wanted, device, mode):
    assert choose_compilation(CompileConfig(**wanted), device)[0] == mode


def test_a_cpu_says_that_it_compiles_nothing():
    _, note = choose_compilation(CompileConfig(), "cpu")
    assert note is not None
    assert "compile: nothing" in note
    assert "--force-compile" in note


def test_forcing_compilation_that_is_off_is_one_clear_error():
    with pytest.raises(EsperError, match="--force-compile contradicts --compile-mode off"):
        choose_compilation(CompileConfig(mode="off", force=True), "cpu")


def test_no_compiler_is_one_clear_error():
    # Not by monkeypatch, whose undoing would delete the setting that later tests compile by.
    from torch._inductor import config

    missing = config.patch({"cpp.cxx": ("no-such-compiler",)})
    with missing, pytest.raises(EsperError, match="found none; install g"):
        choose_compilation(CompileConfig(force=True), "cpu")
    assert choose_compilation(CompileConfig(force=True), "cpu")[0] == "default"


def planned(**hardware):
    return plan_ppo(PPO_FLAGS(device="cpu", **hardware), SourceOptions(preset="digits"))


def test_the_flags_reach_the_config():
    plan = planned(compile_mode="reduce-overhead", force_compile=True)
    assert plan.config.compile == CompileConfig(mode="reduce-overhead", force=True)


@pytest.mark.parametrize(
    ("saved", "flags", "settled"),
    [
        ({"force": True}, {}, {"force": True}),
        ({"force": True}, {"compile_mode": "off"}, {"mode": "off"}),
        ({"force": True}, {"compile_mode": "max-autotune"}, {"mode": "max-autotune"}),
        ({"mode": "off"}, {}, {"mode": "off"}),
        ({"mode": "off"}, {"force_compile": True}, {"force": True}),
        (
            {"mode": "reduce-overhead"},
            {"force_compile": True},
            {"mode": "reduce-overhead", "force": True},
        ),
    ],
)
def test_a_flag_overrides_the_compile_mode_of_a_checkpoint(saved, flags, settled, manifest_of):
    config = override(find_preset("digits"), {"device": "cpu", "compile": saved})
    manifest = manifest_of(config, done=1)
    options = (PPO_FLAGS(**flags), SourceOptions())
    plan = plan_resume(manifest, *options, path=Path("round-00001.safetensors"))
    assert plan.config.compile == CompileConfig(**settled)


def test_not_forcing_compilation_keeps_the_mode(manifest_of):
    config = override(find_preset("digits"), {"device": "cpu", "compile": {"mode": "off"}})
    options = (PPO_FLAGS(), SourceOptions(set=["compile.force=false"]))
    plan = plan_resume(manifest_of(config, done=1), *options, path=Path("round-00001.safetensors"))
    assert plan.config.compile == CompileConfig(mode="off")


@pytest.mark.parametrize("force", [False, True])
def test_the_plan_says_what_is_compiled(force):
    plan = planned(force_compile=force)
    mode, note = choose_compilation(plan.config.compile, "cpu")
    assert plan.compile_mode == mode == ("default" if force else None)
    assert plan.notes[-1] == note
    assert plan_resolved(plan.config).compile_mode == mode
