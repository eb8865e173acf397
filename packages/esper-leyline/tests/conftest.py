"""Hypothesis strategies for contracts, read off their own declarations."""

from __future__ import annotations

import dataclasses
import types
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import strategies as st
from pydantic import AllowInfNan, BaseModel

from esper_leyline import (
    BUILT_IN_BLUEPRINTS,
    HEADS,
    BlendStyle,
    Blueprint,
    CNNHostSpec,
    MLPHostSpec,
    PolicyConfig,
    PPOConfig,
    SeedEvent,
    SeedEventKind,
    TaskSpec,
    TrainingConfig,
    TransformerHostSpec,
)
from esper_leyline.actions import BLUEPRINT_PATTERN, TOPOLOGY_BLUEPRINTS
from esper_leyline.lifecycle.gates import GateResult
from esper_leyline.slots import SLOT_PATTERN, order_slots

JSON_INTEGER = 2**31 - 1


def contract(hint: Any, metadata: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """Returns a strategy for every value that a type hint with its constraints allows."""
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *extra = get_args(hint)
        constraints = [part for each in extra for part in getattr(each, "metadata", (each,))]
        return contract(inner, (*metadata, *constraints))
    if origin in (Union, types.UnionType):
        return st.one_of([contract(part, metadata) for part in get_args(hint)])
    if origin in _GENERIC:
        return _GENERIC[origin](get_args(hint), metadata)
    if dataclasses.is_dataclass(hint) or issubclass(hint, BaseModel):
        return _whole(hint)
    return _scalar(hint, metadata)


@cache
def _whole(record: Any) -> st.SearchStrategy[Any]:
    return _SPECIAL.get(record, _record)(record)


def _tuple(parts: tuple[Any, ...], metadata: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if parts[-1] is not Ellipsis:
        return st.tuples(*[contract(part) for part in parts])
    low = _bound(metadata, "min_length") or 0
    high = min(_bound(metadata, "max_length") or low + 3, low + 3)
    return st.lists(contract(parts[0]), min_size=low, max_size=high).map(tuple)


def _dict(parts: tuple[Any, ...], _: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    return st.dictionaries(*[contract(part) for part in parts], max_size=3)


def _literal(values: tuple[Any, ...], _: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


_GENERIC = {tuple: _tuple, dict: _dict, Literal: _literal}


def _scalar(hint: Any, metadata: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    if hint is str:
        return _strings(metadata)
    if hint is int:
        return _integers(metadata)
    if hint is float:
        return _floats(metadata)
    return {bool: st.booleans(), type(None): st.none()}[hint]


def _strings(metadata: tuple[Any, ...]) -> st.SearchStrategy[str]:
    if _bound(metadata, "pattern") == SLOT_PATTERN:
        return _slots()
    if _bound(metadata, "pattern") == BLUEPRINT_PATTERN:
        return st.sampled_from((*BUILT_IN_BLUEPRINTS, "added"))
    characters = st.characters(exclude_characters="\0", codec="utf-8")
    return st.text(characters, min_size=_bound(metadata, "min_length") or 0, max_size=8)


def _integers(metadata: tuple[Any, ...]) -> st.SearchStrategy[int]:
    low, below = _bound(metadata, "ge"), _bound(metadata, "lt")
    high = _bound(metadata, "le")
    if high is None:
        high = JSON_INTEGER if below is None else below - 1
    return st.integers(min_value=-JSON_INTEGER if low is None else low, max_value=high)


def _floats(metadata: tuple[Any, ...]) -> st.SearchStrategy[float]:
    if any(isinstance(item, AllowInfNan) for item in metadata):
        return st.floats()
    low, high = _bound(metadata, "ge"), _bound(metadata, "le")
    above, below = _bound(metadata, "gt"), _bound(metadata, "lt")
    return st.floats(
        min_value=above if low is None else low,
        max_value=below if high is None else high,
        exclude_min=above is not None,
        exclude_max=below is not None,
        allow_nan=False,
        allow_infinity=False,
    )


def _bound(metadata: tuple[Any, ...], name: str) -> Any:
    found = [getattr(item, name, None) for item in metadata]
    return next((value for value in found if value is not None), None)


def _slots() -> st.SearchStrategy[str]:
    number = st.integers(0, 12)
    return st.builds(lambda row, column: f"r{row}c{column}", number, number)


def _record(record: Any, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    if issubclass(record, BaseModel):
        fields = {
            name: (field.annotation, tuple(field.metadata))
            for name, field in record.model_fields.items()
        }
    else:
        hints = get_type_hints(record, include_extras=True)
        fields = {field.name: (hints[field.name], ()) for field in dataclasses.fields(record)}
    parts = {name: contract(*field) for name, field in fields.items() if name not in given}
    return st.fixed_dictionaries({**parts, **given}).map(lambda values: record(**values))


def _cnn(record: Any) -> st.SearchStrategy[Any]:
    def with_pools(widths: tuple[int, ...]) -> st.SearchStrategy[Any]:
        pools = st.tuples(*[st.booleans() for _ in widths])
        return _record(record, widths=st.just(widths), pools=pools)

    return st.lists(st.integers(1, 64), min_size=1, max_size=4).map(tuple).flatmap(with_pools)


def _transformer(record: Any) -> st.SearchStrategy[Any]:
    def with_heads(heads: int) -> st.SearchStrategy[Any]:
        return _record(
            record,
            heads=st.just(heads),
            width=st.integers(1, 64).map(lambda size: size * heads),
            layers=st.integers(1, 12),
            layers_per_slot=st.integers(1, 12),
        )

    return st.integers(1, 8).flatmap(with_heads)


def _task(record: Any) -> st.SearchStrategy[Any]:
    def on_host(host: Any) -> st.SearchStrategy[Any]:
        blueprints = TOPOLOGY_BLUEPRINTS[host.topology]
        return _record(
            record,
            host=st.just(host),
            slots=_choice(host.slots),
            blueprints=_choice(blueprints),
            styles=_choice(tuple(BlendStyle)),
        )

    hosts = st.one_of(map(contract, (CNNHostSpec, MLPHostSpec, TransformerHostSpec)))
    return hosts.filter(lambda host: 1 <= len(host.slots) <= 64).flatmap(on_host)


def _choice(options: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    return st.lists(st.sampled_from(options), min_size=1, unique=True).map(
        lambda chosen: tuple(sorted(chosen, key=options.index))
    )


def _ppo(record: Any) -> st.SearchStrategy[Any]:
    weight = st.floats(0, 1e6)
    return _record(
        record, entropy_multipliers=st.dictionaries(st.sampled_from(HEADS), weight, max_size=3)
    )


def _policy(record: Any) -> st.SearchStrategy[Any]:
    floor = st.floats(0, 1, exclude_max=True)
    return _record(record, floors=st.fixed_dictionaries(dict.fromkeys(HEADS, floor)))


def _seed_event(record: Any) -> st.SearchStrategy[Any]:
    def with_subject(kind: Any) -> st.SearchStrategy[Any]:
        return _record(
            record,
            kind=st.just(kind),
            blueprint=contract(Blueprint),
            gate=contract(GateResult),
        )

    return st.sampled_from(SeedEventKind).flatmap(with_subject)


def _training(record: Any) -> st.SearchStrategy[Any]:
    slots = st.none() | st.sets(_slots(), min_size=1, max_size=3).map(order_slots)
    return _record(record, slots=slots)


_SPECIAL = {
    SeedEvent: _seed_event,
    CNNHostSpec: _cnn,
    TransformerHostSpec: _transformer,
    TaskSpec: _task,
    PPOConfig: _ppo,
    PolicyConfig: _policy,
    TrainingConfig: _training,
}


@pytest.fixture(scope="session")
def contracts():
    """The strategy of any contract, by its type."""
    return contract
