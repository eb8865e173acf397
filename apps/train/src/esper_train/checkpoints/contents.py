"""Validates the contents of a checkpoint before anything is built from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from esper_kasmina import build_host
from esper_leyline import (
    CheckpointManifest,
    RoundSummary,
    explain_invalid,
    observation_size,
    show_text,
)
from esper_simic import PPOUpdater
from esper_tamiyo import RecurrentPolicy
from esper_tolaria import HostSetup, find_task, make_setup

_NOT_NEGATIVE = frozenset(
    {"count", "squares", "steps", "episodes", "consecutive_skips", "rate_scale"}
)
"""Parts that are counts, sums of squares or factors."""


def find_fault(manifest: CheckpointManifest, state: Any) -> str | None:
    """Compares a checkpoint's state with the state that a run of its configuration saves.

    Args:
        manifest: The checkpoint's manifest.
        state: The state as it was read, of any type.

    Returns:
        The first difference, naming the part; ``None`` if a run can continue from it.

    Raises:
        EsperError: If the manifest names an unknown task or slot.
    """
    setup = make_setup(find_task(manifest.config.task).spec, manifest.config, build_host)
    faults = chain(_manifest_faults(manifest, setup), _state_faults(manifest, setup, state))
    return next(faults, None)


def initial_state(manifest: CheckpointManifest) -> dict[str, Any]:
    """Returns the state of a trainer before its first round.

    The global random generator is not advanced.
    """
    return _initial_state(
        manifest, make_setup(find_task(manifest.config.task).spec, manifest.config, build_host)
    )


def _initial_state(manifest: CheckpointManifest, setup: HostSetup) -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]):
        policy = RecurrentPolicy(
            # The policy does not depend on the host's parameters; counting them takes a host.
            setup.environment_spec(host_parameters=1),
            manifest.config.policy,
            critic=manifest.config.ppo.critic,
        )
    return {
        "policy": policy.state_dict(),
        "updater": PPOUpdater(policy, manifest.config.ppo).state_dict(),
        "rounds": [],
    }


def _manifest_faults(manifest: CheckpointManifest, setup: HostSetup) -> Iterator[str]:
    slots = setup.slots
    expected = {
        "task": manifest.config.task,
        "slots": slots,
        "observation_size": observation_size(len(slots)),
    }
    for name, value in expected.items():
        found = getattr(manifest, name)
        if found != value:
            yield f"its manifest has {name} {found!r}, and its configuration {value!r}"


def _state_faults(manifest: CheckpointManifest, setup: HostSetup, state: Any) -> Iterator[str]:
    expected = _initial_state(manifest, setup)
    rounds = state.get("rounds") if isinstance(state, Mapping) else None
    yield from _differences({**expected, "rounds": rounds}, state, "")
    yield from _round_faults(rounds, manifest.rounds_completed)
    parameters = sum(each.numel() for each in _trained(expected))
    if parameters != manifest.policy_parameters:
        yield (
            f"its manifest has policy_parameters {manifest.policy_parameters}, "
            f"and its policy {parameters}"
        )


def _trained(state: Mapping[str, Any]) -> list[Tensor]:
    """Returns one tensor for each trained parameter: the first moments of Adam."""
    means: list[Tensor] = state["updater"]["optimizer"]["means"]
    return means


def _round_faults(rounds: Any, completed: int) -> Iterator[str]:
    if not isinstance(rounds, list):
        yield f"its rounds are {_kind(rounds)}, not a list"
        return
    if len(rounds) != completed:
        yield f"it has {len(rounds)} rounds, and its manifest {completed}"
    for number, record in enumerate(rounds, start=1):
        try:
            found = RoundSummary.model_validate(record).round
        except ValidationError as error:
            yield f"its round {number} is unusable: {explain_invalid(error)}"
            return
        if found != number:
            yield f"its round {number} says that it is round {found}"


def _differences(expected: Any, found: Any, name: str) -> Iterator[str]:
    """Yields the differences between a part and its expected value."""
    if isinstance(expected, Mapping):
        yield from _dict_differences(expected, found, name)
    elif isinstance(expected, list):
        yield from _list_differences(expected, found, name)
    elif isinstance(expected, Tensor):
        yield from _tensor_differences(expected, found, name)
    elif name.startswith("environment."):
        if found != expected:
            yield f"'{name}' is {show_text(repr(found))}, and its configuration says {expected!r}"
    else:
        yield from _number_differences(expected, found, name)


def _dict_differences(expected: Mapping[str, Any], found: Any, name: str) -> Iterator[str]:
    if not isinstance(found, Mapping):
        yield f"'{name}' is {_kind(found)}, not a dict" if name else "its state is not a dict"
        return
    for key in sorted({*expected, *found}, key=str):
        part = f"{name}.{key}" if name else str(key)
        if key not in found:
            yield f"'{part}' is missing"
        elif key not in expected:
            yield f"'{show_text(part)}' does not belong there"
        else:
            yield from _differences(expected[key], found[key], part)


def _list_differences(expected: list[Any], found: Any, name: str) -> Iterator[str]:
    if not isinstance(found, list):
        yield f"'{name}' is {_kind(found)}, not a list"
    elif name.startswith(("rounds", "environment.")):
        if found != expected:
            yield f"'{name}' is {show_text(repr(found))}, and its configuration says {expected!r}"
    elif len(found) != len(expected):
        yield f"'{name}' has {len(found)} entries, not {len(expected)}"
    else:
        for index, (wanted, given) in enumerate(zip(expected, found, strict=True)):
            yield from _tensor_differences(wanted, given, name, f"[{index}]")


def _tensor_differences(expected: Tensor, found: Any, name: str, place: str = "") -> Iterator[str]:
    shown = f"'{name}{place}'"
    if not isinstance(found, Tensor) or found.layout is not torch.strided:
        yield f"{shown} is {_kind(found)}, not a tensor"
    elif found.shape != expected.shape:
        yield f"{shown} has shape {list(found.shape)}, not {list(expected.shape)}"
    elif found.dtype != expected.dtype:
        yield f"{shown} has type {found.dtype}, not {expected.dtype}"
    elif not bool(found.isfinite().all()):
        yield f"{shown} has a number that is not finite"
    elif _last(name) in _NOT_NEGATIVE and bool((found < 0).any()):
        yield f"{shown} has a negative number"


def _number_differences(expected: Any, found: Any, name: str) -> Iterator[str]:
    numbers = (int,) if isinstance(expected, int) else (int, float)
    if isinstance(found, bool) or not isinstance(found, numbers):
        yield f"'{name}' is {_kind(found)}, not {_kind(expected)}"
    elif not -float("inf") < found < float("inf"):
        yield f"'{name}' is {found}, which is not finite"
    elif _last(name) in _NOT_NEGATIVE and found < 0:
        yield f"'{name}' is {found}, which is negative"


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"of type {type(value).__name__}"
