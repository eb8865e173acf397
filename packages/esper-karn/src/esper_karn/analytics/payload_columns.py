"""How a part of an event's payload becomes a column: its SQL type follows from Leyline's types."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

_SCALARS = ((bool, "BOOLEAN"), (int, "BIGINT"), (float, "DOUBLE"), (str, "VARCHAR"))


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a payload.

    Attributes:
        annotation: Its type, without ``None``.
        default: Its value where the log leaves it out; ``None`` without a default.
        optional: Whether it may be ``None``.
        below_optional: How many names of its path follow the last part that may be ``None``;
            where that part is missing, the default does not hold. 0 without such a part.
    """

    annotation: Any
    default: object = None
    optional: bool = False
    below_optional: int = 0

    @property
    def sql_type(self) -> str:
        """The type of its column. Enumerations of numbers become their names."""
        return "VARCHAR" if _is_names(self.annotation) else _stored_type(self.annotation)

    @property
    def stored_type(self) -> str:
        """The type of its value in the log."""
        return _stored_type(self.annotation)

    @property
    def is_dictionary(self) -> bool:
        """Whether it holds values by name."""
        return get_origin(self.annotation) is dict

    def expression(self, value: str) -> str:
        """Returns SQL for the column, given SQL for the value in the log."""
        if self.default is not None:
            whole = f"coalesce({value}, {literal(self.default)})"
            if self.below_optional:
                above = value.rsplit(".", self.below_optional)[0]
                whole = f"CASE WHEN {above} IS NOT NULL THEN {whole} END"
            value = whole
        if _is_names(self.annotation):
            cases = " ".join(f"WHEN {each.value} THEN '{each.name}'" for each in self.annotation)
            return f"CASE {value} {cases} END"
        return value


def find_part(annotation: Any, path: str) -> Part:
    """Returns the part of a type that a path names.

    Args:
        annotation: A payload, or the type of one of its parts.
        path: Names of fields with dots between, for example ``host.val_loss``.

    Raises:
        AttributeError: If there is no such field.
    """
    part = Part(bare(annotation))
    below = 0
    for name in path.split("."):
        below = 1 if part.optional else below + (below > 0)
        part = _field(part.annotation, name)
    return replace(part, below_optional=below)


def element(annotation: Any) -> Any:
    """Returns the type of the elements of a tuple; for a dictionary, a key and a value."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is dict:
        return Entry(*map(bare, arguments))
    assert origin is tuple, annotation
    return bare(arguments[0])


@dataclass(frozen=True, slots=True)
class Entry:
    """The type of the entries of a dictionary."""

    key: Any
    value: Any


def structure(parts: Mapping[str, Any]) -> object:
    """Returns what ``json_transform`` takes: the SQL type at each path, nested.

    Args:
        parts: By path, the type as SQL, or for a list of objects a list with their structure.
    """
    nested: dict[str, Any] = {}
    for path, each in parts.items():
        *outer, last = path.split(".")
        place = nested
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = each
    return nested


def literal(value: object) -> str:
    """Returns a number, a truth value, a text or an empty collection as SQL."""
    if isinstance(value, tuple | dict):
        assert not value, value
        return "MAP {}" if isinstance(value, dict) else "[]"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, IntEnum):
        return str(int(value))
    if isinstance(value, str):
        return "'" + str(value).replace("'", "''") + "'"
    return repr(value)


def bare(annotation: Any) -> Any:
    """Returns a type without its metadata and without ``None``."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, UnionType):
            (annotation,) = [each for each in get_args(annotation) if each is not NoneType]
        else:
            return annotation


def _field(annotation: Any, name: str) -> Part:
    if isinstance(annotation, Entry):
        return Part(getattr(annotation, name))
    if get_origin(annotation) is dict:
        return Part(bare(get_args(annotation)[1]))  # the value of one key
    default = _default(annotation, name)
    hint = _hints(annotation)[name]
    return Part(bare(hint), default, optional=_is_optional(hint))


def _default(record: Any, name: str) -> object:
    """Returns the default of a field, ``None`` if it has none."""
    if issubclass(record, BaseModel):
        field = record.model_fields.get(name)
        if field is None:
            raise AttributeError(f"{record.__name__} has no field '{name}'")
        default = field.get_default(call_default_factory=True)
        return None if default is PydanticUndefined else default
    for each in dataclasses.fields(record):
        if each.name == name:
            if each.default_factory is not dataclasses.MISSING:
                return each.default_factory()
            return None if each.default is dataclasses.MISSING else each.default
    raise AttributeError(f"{record.__name__} has no field '{name}'")


def _is_optional(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return NoneType in get_args(hint)


@cache
def _hints(annotation: type) -> dict[str, Any]:
    return get_type_hints(annotation, include_extras=True)


def _stored_type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "VARCHAR"
    if origin is tuple:
        return f"{_stored_type(bare(arguments[0]))}[]"
    if origin is dict:
        key, value = map(_stored_type, map(bare, arguments))
        return f"MAP({key}, {value})"
    for scalar, name in _SCALARS:
        if issubclass(annotation, scalar):
            return name
    raise TypeError(f"no column can hold {annotation}")


def _is_names(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, IntEnum)
