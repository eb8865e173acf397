"""Panels of what a telemetry profile measured: one host in full, and all hosts in a row each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from esper_karn.state.run import RunState
from esper_karn.state.stamped import Stamped
from esper_karn.views.levels import why_empty
from esper_leyline.profiles import HostProfile, LayerProfile, Sharpness
from esper_leyline.wire import WIRE_CONFIG, Float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileView:
    """What a telemetry profile measured last on one host."""

    profile: str
    round: int | None
    epoch: int | None
    layers: tuple[LayerProfile, ...]
    class_accuracy: tuple[Float | None, ...]
    sharpness: Sharpness | None
    seconds: Float


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedValue:
    """A value, and the layer or the class that has it."""

    name: str
    value: Float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRow:
    """The extremes of the last profile of one host; ``None`` where it was not measured.

    Attributes:
        smallest_gradient: The layer whose gradient has the smallest norm; likewise
            ``largest_gradient``.
        largest_weights: The layer whose weights have the largest norm.
        most_zeros: The layer with the largest share of zeros in its gradient.
        most_exploding: The layer with the largest share of exploding values in its gradient.
        worst_class: The class with the lowest validation accuracy, in percent; likewise
            ``best_class``.
        sharpness: Mean rise of the validation loss around the weights, in nats.
        seconds: Wall time of the measurement.
    """

    environment: int
    profile: str
    round: int | None
    epoch: int | None
    smallest_gradient: NamedValue | None
    largest_gradient: NamedValue | None
    largest_weights: NamedValue | None
    most_zeros: NamedValue | None
    most_exploding: NamedValue | None
    worst_class: NamedValue | None
    best_class: NamedValue | None
    sharpness: Float | None
    seconds: Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """The last profile of each host.

    Attributes:
        empty: Why there is none, for example the flag that it needs; ``None`` if there is one.
    """

    __pydantic_config__ = WIRE_CONFIG

    rows: tuple[ProfileRow, ...]
    empty: str | None


def profile_view(found: Stamped[HostProfile] | None) -> ProfileView | None:
    """Selects the last profile of a host in full."""
    if found is None:
        return None
    payload = found.payload
    return ProfileView(
        profile=payload.profile,
        round=found.round,
        epoch=found.epoch,
        layers=payload.layers,
        class_accuracy=payload.class_accuracy,
        sharpness=payload.sharpness,
        seconds=payload.seconds,
    )


def profiles(state: RunState) -> Profiles:
    """Selects a row for each host that was measured."""
    rows = tuple(
        _row(each.index, each.profile) for each in state.environments if each.profile is not None
    )
    return Profiles(rows=rows, empty=why_unmeasured(state, shown=bool(rows)))


def why_unmeasured(state: RunState, *, shown: bool) -> str | None:
    """Says why there is no profile, for example the flag that it needs; ``None`` if there is."""
    started = state.started
    minimal = started is not None and started.config.telemetry.profile == "minimal"
    waiting = "needs --telemetry-profile standard" if minimal else "not measured yet"
    return why_empty(state, ["profile_measured"], waiting, shown=shown)


def _row(environment: int, found: Stamped[HostProfile]) -> ProfileRow:
    payload = found.payload
    gradients = _by_layer(payload.layers, lambda layer: layer.gradient_norm)
    classes = [
        NamedValue(name=str(index), value=accuracy)
        for index, accuracy in enumerate(payload.class_accuracy)
        if accuracy is not None
    ]
    return ProfileRow(
        environment=environment,
        profile=payload.profile,
        round=found.round,
        epoch=found.epoch,
        smallest_gradient=_smallest(gradients),
        largest_gradient=_largest(gradients),
        largest_weights=_largest(_by_layer(payload.layers, lambda layer: layer.weight_norm)),
        most_zeros=_largest(_by_layer(payload.layers, lambda layer: layer.zero_share)),
        most_exploding=_largest(_by_layer(payload.layers, lambda layer: layer.exploding_share)),
        worst_class=_smallest(classes),
        best_class=_largest(classes),
        sharpness=payload.sharpness.mean_rise if payload.sharpness else None,
        seconds=payload.seconds,
    )


def _by_layer(
    layers: Iterable[LayerProfile], value: Callable[[LayerProfile], float | None]
) -> list[NamedValue]:
    return [
        NamedValue(name=layer.name, value=number)
        for layer in layers
        if (number := value(layer)) is not None
    ]


def _smallest(values: list[NamedValue]) -> NamedValue | None:
    return min(values, key=_order, default=None)


def _largest(values: list[NamedValue]) -> NamedValue | None:
    return max(values, key=_order, default=None)


def _order(named: NamedValue) -> tuple[bool, float]:
    # NaN, which has no order, comes last: it is the worst that a norm can be.
    return math.isnan(named.value), 0.0 if math.isnan(named.value) else named.value
