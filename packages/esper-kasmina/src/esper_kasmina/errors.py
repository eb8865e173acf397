"""The base of this distribution's errors."""

from __future__ import annotations

from esper_leyline import EsperError


class KasminaError(EsperError):
    """A host, slot or seed cannot do what it was given to do."""
