"""``--compile-mode`` and ``--force-compile``: what compiles where."""

from __future__ import annotations

import pytest

from esper_leyline import CompileConfig, EsperError
from esper_train.compiling import choose_compilation
from esper_train.options import ConfigOptions, LearnerOptions, ScaleOptions, TelemetryOptions
from esper_train.resolve import plan_ppo


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
def test_what_compiles_where(wanted, device, mode):
    assert choose_compilation(CompileConfig(**wanted), device)[0] == mode


def test_a_cpu_says_that_it_compiles_nothing():
    _, note = choose_compilation(CompileConfig(), "cpu")
    assert note is not None
    assert "compile: nothing" in note
    assert "--force-compile" in note


def test_forced_and_off_is_one_clear_error():
    with pytest.raises(EsperError, match="--force-compile contradicts --compile-mode off"):
        choose_compilation(CompileConfig(mode="off", force=True), "cpu")


def test_no_compiler_is_one_clear_error(monkeypatch):
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    with pytest.raises(EsperError, match="found none; install g"):
        choose_compilation(CompileConfig(force=True), "cpu")


def test_the_flags_reach_the_config():
    hardware = LearnerOptions(device="cpu", compile_mode="reduce-overhead", force_compile=True)
    plan = plan_ppo(ScaleOptions(), ConfigOptions(preset="digits"), hardware, TelemetryOptions())
    assert plan.config.compile == CompileConfig(mode="reduce-overhead", force=True)
