"""The metrics of one event, by the names that they have at Weights & Biases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, TypeAdapter

from esper_leyline.events import (
    EpisodeOutcome,
    EpochCompleted,
    Event,
    PPOUpdate,
    RoundCompleted,
    TestEvaluated,
    Vitals,
)
from esper_leyline.profiles import HostProfile

_HOST_FIELDS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "total_parameters")

SECTIONS: Mapping[str, str] = MappingProxyType({"throughput": "speed"})
"""Section of the kinds whose numbers are all taken as they are."""


def metrics_of(event: Event) -> dict[str, float]:
    """Returns the numbers of an event by name; empty for kinds without metrics.

    Losses are in nats, accuracies in percent. ``None`` is left out, NaN is kept.
    """
    case = _CASES.get(event.kind)
    if case is not None:
        return case(event, event.payload)
    section = SECTIONS.get(event.kind)
    return {} if section is None else numbers(event.payload, section)


def numbers(value: object, path: str) -> dict[str, float]:
    """Returns every number in a value, which may be nested, by its path.

    Args:
        value: A payload or a part of one.
        path: What the names begin with.
    """
    return dict(_walk(_plain(value), path))


def _plain(value: object) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    return TypeAdapter(type(value)).dump_python(value)


def _walk(value: object, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield path, float(value)
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _walk(part, f"{path}/{name}")
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _walk(part, f"{path}/{index}")


def _epoch(event: Event, payload: EpochCompleted) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in _HOST_FIELDS:
        value = getattr(payload.host, name)
        if value is not None:
            found[f"{name}/host_{event.environment}"] = value
            found[f"{name}/mean"] = value
    return found


def _outcome(_event: Event, payload: EpisodeOutcome) -> dict[str, float]:
    found = {"episodes/return": payload.episode_return}
    if payload.best_val_accuracy is not None:
        found["episodes/best_val_accuracy"] = payload.best_val_accuracy
    for name, value in payload.reward_components.items():
        found[f"reward/{name}"] = value
    return found


def _round(_event: Event, payload: RoundCompleted) -> dict[str, float]:
    summary = payload.summary
    found = numbers(summary, "rounds")
    del found["rounds/round"]
    for name in ("germinated", "fossilized", "pruned"):
        found[f"seeds/{name}"] = found.pop(f"rounds/{name}")
    return found


def _update(_event: Event, payload: PPOUpdate) -> dict[str, float]:
    found = numbers(payload.model_copy(update={"q_values": ()}), "ppo")
    for each in payload.q_values:
        found |= numbers(each, f"ppo/q/{each.op}")
    found["ppo/skipped"] = float(payload.skipped is not None)
    return found


def _vitals(_event: Event, payload: Vitals) -> dict[str, float]:
    found = numbers(payload.model_copy(update={"gpus": ()}), "machine")
    for gpu in payload.gpus:
        found |= numbers(gpu.model_copy(update={"index": None}), f"machine/gpu_{gpu.index}")
    return found


def _test(event: Event, payload: TestEvaluated) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in ("test_loss", "test_accuracy"):
        value = getattr(payload.result, name)
        found |= {f"{name}/host_{event.environment}": value, f"{name}/mean": value}
    return found


def _profile(event: Event, payload: HostProfile) -> dict[str, float]:
    found = numbers(payload.class_accuracy, "class_accuracy")
    for layer in payload.layers:
        for name, value in numbers(layer, "").items():
            found[f"{name[1:]}/{layer.name}"] = value
    if payload.sharpness is not None:
        found["sharpness"] = payload.sharpness.mean_rise
    return {f"profile/{name}/host_{event.environment}": found[name] for name in found}


_Case = Callable[[Event, Any], dict[str, float]]

_CASES: Mapping[str, _Case] = MappingProxyType(
    {
        "epoch_completed": _epoch,
        "episode_outcome": _outcome,
        "round_completed": _round,
        "ppo_update": _update,
        "vitals": _vitals,
        "test_evaluated": _test,
        "profile_measured": _profile,
    }
)
