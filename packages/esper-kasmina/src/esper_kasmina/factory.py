"""Builds hosts from their specs."""

from __future__ import annotations

from collections.abc import Sequence

from esper_kasmina.cnn import CNNHost
from esper_kasmina.errors import KasminaError
from esper_leyline import CNNHostSpec, HostSpec, LifecycleRules, check_slots


def build_host(
    spec: HostSpec,
    *,
    slots: Sequence[str],
    rules: LifecycleRules,
    max_seeds: int | None,
    seed: int,
) -> CNNHost:
    """Builds a host whose weights, and whose seeds' weights, follow from ``seed`` alone.

    Args:
        spec: What to build.
        slots: The slots to enable, in any order.
        rules: What the lifecycle accepts.
        max_seeds: Most seeds at a time, fossils included; ``None`` is one a slot.
        seed: Decides every weight; torch's global generator is neither read nor moved.

    Raises:
        KasminaError: If this version cannot build the host, or it lacks a slot.
    """
    if not isinstance(spec, CNNHostSpec):
        raise KasminaError(f"cannot build a '{spec.kind}' host; this version builds 'cnn' hosts")
    try:
        enabled = check_slots(tuple(slots), spec.slots)
    except ValueError as error:
        raise KasminaError(str(error)) from None
    return CNNHost(spec, slots=enabled, rules=rules, max_seeds=max_seeds, seed=seed)
