"""The base of the errors that Nissa raises on purpose."""

from __future__ import annotations

from esper_leyline import EsperError


class NissaError(EsperError):
    """Telemetry or a run directory cannot be written or read."""


def os_reason(error: OSError) -> str:
    """Returns what the operating system said, without its error number."""
    return error.strerror or str(error)
