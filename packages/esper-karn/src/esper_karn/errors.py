"""The base of the errors that Karn raises on purpose, and the wording of pydantic's."""

from __future__ import annotations

from pydantic import ValidationError

from esper_leyline import EsperError


class KarnError(EsperError):
    """A run or its log cannot be read."""


def first_problem(error: ValidationError) -> str:
    """Returns pydantic's first complaint in one line: where, and what is wrong there."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
