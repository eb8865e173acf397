"""Builds hosts from their specs."""

from __future__ import annotations

from collections.abc import Sequence

from esper_kasmina.checks import shown
from esper_kasmina.cnn import CNNHost
from esper_kasmina.errors import KasminaError
from esper_kasmina.gpt import GPTHost
from esper_kasmina.mlp import MLPHost
from esper_kasmina.path_host import PathHost
from esper_leyline import (
    CNNHostSpec,
    HostSpec,
    LifecycleRules,
    MLPHostSpec,
    TransformerHostSpec,
    check_slots,
)


def build_host(
    spec: HostSpec,
    *,
    slots: Sequence[str],
    rules: LifecycleRules,
    max_seeds: int | None,
    seed: int,
) -> PathHost:
    """Builds a host whose weights, and whose seeds' weights, follow from ``seed`` alone.

    Args:
        spec: What to build.
        slots: The slots to enable, in any order.
        rules: What the lifecycle accepts.
        max_seeds: Most seeds at a time, fossils included; ``None`` is one a slot.
        seed: Decides every weight; torch's global generator is neither read nor moved.

    Raises:
        KasminaError: If the spec is none, or the host cannot be built, or lacks a slot.
    """
    if not isinstance(spec, CNNHostSpec | MLPHostSpec | TransformerHostSpec):
        raise KasminaError(
            f"the spec is {shown(spec)}; give that of a host, such as HOST_SPECS['cifar10']"
        )
    try:
        enabled = check_slots(tuple(slots), spec.slots)
    except ValueError as error:
        raise KasminaError(str(error)) from None
    match spec:
        case CNNHostSpec():
            return CNNHost(spec, slots=enabled, rules=rules, max_seeds=max_seeds, seed=seed)
        case MLPHostSpec():
            return MLPHost(spec, slots=enabled, rules=rules, max_seeds=max_seeds, seed=seed)
        case TransformerHostSpec():
            return GPTHost(spec, slots=enabled, rules=rules, max_seeds=max_seeds, seed=seed)
