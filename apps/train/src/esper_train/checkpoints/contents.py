"""Validates the contents of a checkpoint before anything is built from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from esper_kasmina import build_host
from esper_leyline import CheckpointManifest, RoundSummary, observation_size, show_text
from esper_leyline.config.overrides import explain_invalid
from esper_simic import PPO
from esper_tamiyo import RecurrentPolicy
from esper_tolaria import HostSetup, find_task, make_setup
from esper_train.errors import TrainError

EMBEDDING = "blueprints.weight"
"""The policy's embedding of blueprints in its state dict."""

_NOT_NEGATIVE = frozenset(
    {"count", "squares", "steps", "episodes", "consecutive_skips", "rate_scale"}
)
"""Parts that are counts, sums of squares or factors."""


def align_state(state: Any, rows: Sequence[str | None], policy: RecurrentPolicy) -> dict[str, Any]:
    """Returns a trainer's state with the rows of its blueprints where a policy has them.

    What is not of the expected form is returned as it is, for ``check_state`` to name.

    Args:
        state: A trainer's state, as it was saved.
        rows: The blueprints of the policy that was saved, by row of its embedding.
        policy: The policy that the state is for.
    """
    if tuple(rows) == policy.encoder.rows:
        return state  # type: ignore[no-any-return]

    def aligned(name: str, saved: Any, fill: Tensor) -> Any:
        if not isinstance(saved, Tensor):
            return saved
        return policy.align_blueprints(name, saved, rows, fill)

    own = policy.state_dict()
    parameters = dict(policy.named_parameters())
    try:
        moved = {
            **state,
            "policy": {
                name: aligned(name, saved, own[name]) if name in own else saved
                for name, saved in state["policy"].items()
            },
        }
        optimizer = dict(state["ppo"]["optimizer"])
        for moments in ("means", "squares"):
            if len(optimizer[moments]) == len(parameters):
                optimizer[moments] = [
                    aligned(name, saved, torch.zeros_like(parameter))
                    for (name, parameter), saved in zip(
                        parameters.items(), optimizer[moments], strict=True
                    )
                ]
        moved["ppo"] = {**state["ppo"], "optimizer": optimizer}
    except (TypeError, KeyError, AttributeError):
        return state  # type: ignore[no-any-return]
    return moved


def check_state(
    manifest: CheckpointManifest, state: Any
) -> tuple[CheckpointManifest, dict[str, Any]]:
    """Compares a checkpoint's state with the state that a run of its configuration saves.

    Args:
        manifest: The checkpoint's manifest.
        state: The state as it was read, of any type.

    Returns:
        Both, with a row for every blueprint that a policy of this configuration has today.

    Raises:
        TrainError: If a run cannot continue from it; names the first difference and its part.
        EsperError: If the manifest names an unknown task, slot or blueprint.
    """
    setup = _setup(manifest)
    policy = _policy(manifest, setup)
    aligned = align_state(state, manifest.blueprints, policy)
    faults = chain(
        _manifest_faults(manifest, setup),
        _state_faults(manifest, _initial_state(manifest, policy), aligned),
        _count_faults(manifest, state),
    )
    fault = next(faults, None)
    if fault is not None:
        raise TrainError(f"cannot be used: {fault}")
    return manifest.model_copy(update={"blueprints": policy.encoder.rows}), aligned


def initial_state(manifest: CheckpointManifest) -> dict[str, Any]:
    """Returns the state of a trainer before its first round.

    The global random generator is not advanced.
    """
    return _initial_state(manifest, _policy(manifest, _setup(manifest)))


def _setup(manifest: CheckpointManifest) -> HostSetup:
    return make_setup(find_task(manifest.config.task).spec, manifest.config, build_host)


def _policy(manifest: CheckpointManifest, setup: HostSetup) -> RecurrentPolicy:
    with torch.random.fork_rng(devices=[]):
        return RecurrentPolicy(
            # The policy does not depend on the host's parameters; counting them takes a host.
            setup.environment_spec(host_parameters=1),
            manifest.config.policy,
            critic=manifest.config.ppo.critic,
        )


def _initial_state(manifest: CheckpointManifest, policy: RecurrentPolicy) -> dict[str, Any]:
    return {
        "policy": policy.state_dict(),
        "ppo": PPO(policy, manifest.config.ppo).state_dict(),
        "rounds": [],
    }


def _manifest_faults(manifest: CheckpointManifest, setup: HostSetup) -> Iterator[str]:
    slots = setup.slots
    expected = {
        "task": manifest.config.task,
        "slots": slots,
        "observation_size": observation_size(len(slots)),
    }
    rows = manifest.blueprints
    if len(set(rows)) < len(rows) or None not in rows:
        yield "its manifest does not name every row of blueprints once, and one without a blueprint"
    for name, value in expected.items():
        found = getattr(manifest, name)
        if found != value:
            yield f"its manifest has {name} {found!r}, and its configuration {value!r}"


def _state_faults(
    manifest: CheckpointManifest, expected: Mapping[str, Any], state: Any
) -> Iterator[str]:
    rounds = state.get("rounds") if isinstance(state, Mapping) else None
    yield from _differences({**expected, "rounds": rounds}, state, "")
    yield from _round_faults(rounds, manifest.rounds_completed)


def _count_faults(manifest: CheckpointManifest, state: Any) -> Iterator[str]:
    """Yields wrong numbers of rows and parameters of a state that has no other fault."""
    rows = len(state["policy"][EMBEDDING])
    if len(manifest.blueprints) != rows:
        named = len(manifest.blueprints)
        yield f"its manifest names {named} rows of blueprints, its policy has {rows}"
    parameters = sum(each.numel() for each in _trained(state))
    if parameters != manifest.policy_parameters:
        yield (
            f"its manifest has policy_parameters {manifest.policy_parameters}, "
            f"and its policy {parameters}"
        )


def _trained(state: Mapping[str, Any]) -> list[Tensor]:
    """Returns one tensor for each trained parameter: the first moments of Adam."""
    means: list[Tensor] = state["ppo"]["optimizer"]["means"]
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
    elif name == "rounds":
        return  # ``_round_faults`` reads them
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
