"""The one exception base of this distribution."""

from __future__ import annotations

from esper_leyline import EsperError


class SimicError(EsperError):
    """A reward, a rollout or an update cannot be made as asked."""
