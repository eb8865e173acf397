"""Tries whether the branch of a registered blueprint can be used in a seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.blueprints.spec import BlueprintSpec
from esper_kasmina.layers.seeding import seeded
from esper_kasmina.layers.tracing import trace
from esper_leyline import Topology

_LENGTHS = (16, 24)
"""Sizes of each spatial axis, or numbers of tokens, on which a branch is tried."""

_SAMPLES = 3


def find_fault(spec: BlueprintSpec, activations: ActivationSpec) -> str | None:
    """Builds a branch, runs it, and returns what is wrong with it; ``None`` if nothing is.

    The state of torch's global generator does not change.

    Args:
        spec: The blueprint.
        activations: The activations that the branch will take; maps with the channels second.
    """
    with seeded(0), _on_cpu_without_autocast():
        fault = _fault(spec, activations)
    return None if fault is None else f"blueprint '{spec.blueprint}' {fault}"


@contextmanager
def _on_cpu_without_autocast() -> Iterator[None]:
    with torch.device("cpu"), torch.autocast("cpu", enabled=False), torch.no_grad():
        yield


def _fault(spec: BlueprintSpec, activations: ActivationSpec) -> str | None:
    try:
        branch, another = (spec.build(activations) for _ in range(2))
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        return f"cannot be built for {activations} ({_describe(error)})"
    if not isinstance(branch, nn.Module):
        return f"builds a {type(branch).__name__}; return an nn.Module"
    if any(isinstance(each, UninitializedParameter) for each in branch.parameters()):
        return "has layers whose size is not known yet; give every layer its sizes"
    if _shares_parameters(branch, another):
        return "builds the same parameters again; build new layers at each call"
    branch = branch.to(torch.get_default_dtype())
    for length in _LENGTHS:
        for training in (False, True):
            fault = _fault_of_pass(branch.train(training), _example(activations, length))
            if fault is not None:
                return fault
    return (
        _fault_of_causality(branch.eval(), activations)
        or _fault_of_tracing(branch)
        or _fault_of_count(spec, branch, activations)
    )


def _shares_parameters(branch: nn.Module, other: nn.Module) -> bool:
    return bool({id(p) for p in branch.parameters()} & {id(p) for p in other.parameters()})


def _example(activations: ActivationSpec, length: int) -> Tensor:
    channels = activations.channels
    if activations.topology is Topology.CNN:
        return torch.randn(_SAMPLES, channels, *[length] * activations.dimensions)
    if activations.topology is Topology.MLP:
        return torch.randn(_SAMPLES, channels)
    shape = (_SAMPLES, length) if activations.batch_first else (length, _SAMPLES)
    return torch.randn(*shape, channels)


def _fault_of_pass(branch: nn.Module, hidden: Tensor) -> str | None:
    """Runs a branch on a batch, and returns what is wrong with it."""
    hidden_before, generator_before = hidden.clone(), torch.get_rng_state()
    try:
        output = branch(hidden)
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        return f"does not run on {tuple(hidden.shape)} ({_describe(error)})"
    if not torch.equal(generator_before, torch.get_rng_state()):
        return (
            "draws random numbers in its forward pass, which would change those that the model's "
            "own layers draw; leave dropout and noise out of the branch"
        )
    if not torch.equal(hidden, hidden_before):
        return (
            "cannot start as the identity: its branch changes its input in place; use layers "
            "with inplace=False first"
        )
    return _fault_of_output(output, hidden)


def _fault_of_output(output: object, hidden: Tensor) -> str | None:
    if not isinstance(output, Tensor):
        return f"returns a {type(output).__name__} from its branch; return a tensor"
    if output.shape != hidden.shape:
        return f"turns {tuple(hidden.shape)} into {tuple(output.shape)}; a branch keeps the shape"
    if output.dtype != hidden.dtype:
        return f"turns {hidden.dtype} into {output.dtype}; a branch keeps the dtype"
    if not output.isfinite().all():
        return "cannot start as the identity: its branch returns numbers that are not finite"
    if not output.any():
        return (
            "cannot learn: its new branch returns zeros; initialise its last layer as usual, "
            "the seed's scale starts at 0 already"
        )
    return None


def _fault_of_causality(branch: nn.Module, activations: ActivationSpec) -> str | None:
    if not activations.causal:
        return None
    length = _LENGTHS[0]
    axis = 1 - activations.batch_axis
    tokens = _example(activations, length)
    changed = tokens.clone()
    changed.narrow(axis, length // 2, length // 2).neg_()  # the second half
    output, other = (branch(each).narrow(axis, 0, length // 2) for each in (tokens, changed))
    if torch.allclose(output, other, rtol=1e-4, atol=1e-4):
        return None
    return f"looks at later tokens, and the activations {activations} are causal"


def _fault_of_tracing(branch: nn.Module) -> str | None:
    try:
        trace(branch)
    except Exception as error:  # noqa: BLE001 - tracing runs the user's code
        return f"could not be harvested: torch.fx does not trace its branch ({_describe(error)})"
    return None


def _fault_of_count(
    spec: BlueprintSpec, branch: nn.Module, activations: ActivationSpec
) -> str | None:
    if spec.parameters is None:
        return None
    counted = sum(parameter.numel() for parameter in branch.parameters())
    try:
        stated = spec.parameters(activations)
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        return f"has a 'parameters' that fails for {activations} ({_describe(error)})"
    if stated == counted:
        return None
    return f"has {counted} parameters for {activations}, and its 'parameters' says {stated}"


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
