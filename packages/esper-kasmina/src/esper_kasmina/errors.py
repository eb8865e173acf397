"""The base class of this distribution's errors."""

from __future__ import annotations

from esper_leyline import EsperError


class KasminaError(EsperError):
    """An argument is wrong, or a host, slot or seed cannot do what was asked."""
