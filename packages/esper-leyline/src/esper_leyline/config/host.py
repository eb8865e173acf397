"""What a host is built with, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from esper_leyline.lifecycle.gates import LifecycleRules


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """What a host is built with, besides its spec.

    Attributes:
        slots: The slots to enable, in any order.
        rules: What the lifecycle accepts.
        max_seeds: Most seeds at a time, fossilized ones included; ``None`` is one for each slot.
        rng_seed: Decides every weight of the host and of its seeds.
    """

    slots: tuple[str, ...]
    rules: LifecycleRules = field(default_factory=LifecycleRules)
    max_seeds: int | None = None
    rng_seed: int = 0
