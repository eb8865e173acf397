"""Builds hosts from their specs."""

from __future__ import annotations

from dataclasses import replace

from esper_kasmina.checks import shown
from esper_kasmina.errors import KasminaError
from esper_kasmina.hosts.cnn import CNNHost
from esper_kasmina.hosts.gpt import GPTHost
from esper_kasmina.hosts.mlp import MLPHost
from esper_kasmina.hosts.sequential import SequentialHost
from esper_leyline import (
    CNNHostSpec,
    HostOptions,
    HostSpec,
    MLPHostSpec,
    TransformerHostSpec,
    check_slots,
)


def build_host(spec: HostSpec, options: HostOptions) -> SequentialHost:
    """Builds a host; the state of torch's global generator is neither used nor changed.

    Args:
        spec: The kind of host and its sizes.
        options: Slots, rules, and the random seed from which all weights are drawn.

    Raises:
        KasminaError: If ``spec`` is not a spec, the host cannot be built, or it has not all slots.
    """
    if not isinstance(spec, CNNHostSpec | MLPHostSpec | TransformerHostSpec):
        raise KasminaError(
            f"the spec is {shown(spec)}; give a CNNHostSpec, MLPHostSpec or TransformerHostSpec"
        )
    try:
        enabled = check_slots(options.slots, spec.slots)
    except ValueError as error:
        raise KasminaError(str(error)) from None
    options = replace(options, slots=enabled)
    match spec:
        case CNNHostSpec():
            return CNNHost(spec, options)
        case MLPHostSpec():
            return MLPHost(spec, options)
        case TransformerHostSpec():
            return GPTHost(spec, options)
