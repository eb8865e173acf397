"""The blueprints that there are: built-in ones, and those that users register."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from esper_kasmina.activations import Activations
from esper_kasmina.blueprints import cnn, tokens
from esper_kasmina.blueprints.cnn import (
    bottleneck,
    conv_heavy,
    conv_light,
    conv_small,
    depthwise,
)
from esper_kasmina.blueprints.spec import BlueprintSpec, BranchBuilder, blueprint_name
from esper_kasmina.blueprints.tokens import flex_attention, lora, mlp
from esper_kasmina.checks import shown
from esper_kasmina.errors import KasminaError
from esper_leyline import AnyBlueprint, Blueprint, Topology

_MAPS = (Topology.CNN,)
_TOKENS = (Topology.TRANSFORMER,)
_VECTORS = (Topology.TRANSFORMER, Topology.MLP)

_BUILT_IN: tuple[tuple[Blueprint, tuple[Topology, ...], BranchBuilder], ...] = (
    (Blueprint.CONV_LIGHT, _MAPS, conv_light.build),
    (Blueprint.ATTENTION, _MAPS, cnn.attention.build),
    (Blueprint.NORM, _MAPS, cnn.norm.build),
    (Blueprint.DEPTHWISE, _MAPS, depthwise.build),
    (Blueprint.BOTTLENECK, _MAPS, bottleneck.build),
    (Blueprint.CONV_SMALL, _MAPS, conv_small.build),
    (Blueprint.CONV_HEAVY, _MAPS, conv_heavy.build),
    (Blueprint.ATTENTION, _TOKENS, tokens.attention.build),
    (Blueprint.FLEX_ATTENTION, _TOKENS, flex_attention.build),
    (Blueprint.NORM, _VECTORS, tokens.norm.build),
    (Blueprint.LORA, _VECTORS, lora.build),
    (Blueprint.LORA_LARGE, _VECTORS, lora.build_large),
    (Blueprint.MLP_SMALL, _VECTORS, mlp.build_small),
    (Blueprint.MLP, _VECTORS, mlp.build),
)

_known: dict[Topology, dict[AnyBlueprint, BlueprintSpec]] = {each: {} for each in Topology}

BLUEPRINTS: Mapping[Topology, Mapping[AnyBlueprint, BlueprintSpec]] = MappingProxyType(
    {topology: MappingProxyType(specs) for topology, specs in _known.items()}
)
"""Every blueprint by the topology of the slots it fits; registered ones appear in it."""


def _add(spec: BlueprintSpec) -> None:
    for topology in spec.topologies:
        _known[topology][spec.blueprint] = spec


for _blueprint, _topologies, _build in _BUILT_IN:
    _add(BlueprintSpec(blueprint=_blueprint, topologies=frozenset(_topologies), build=_build))


def register_blueprint(
    name: str,
    build: BranchBuilder,
    *,
    topologies: Topology | Iterable[Topology],
    parameters: Callable[[Activations], int] | None = None,
    replace: bool = False,
) -> BlueprintSpec:
    """Adds a blueprint of your own, which seeds of this process can then be made of.

    Its name takes the place of a ``Blueprint`` wherever one is asked for: ``grow(model,
    "r0c0", "MY_BLOCK", ...)``, ``Germinate(blueprint="MY_BLOCK")``. State dicts name it, so
    register it before one is loaded; harvests do not need it. Policies choose among the
    built-in blueprints only.

    A seed is x + scale · branch(x) with a scale that starts at 0, so the branch itself needs no
    zero. Before each birth a branch is tried on small random batches of two sizes: it has to
    keep shape and dtype, leave its input as it is, return finite numbers that are not all 0,
    draw no random numbers in its forward pass (dropout would change what the model's own layers
    draw), look at no later token where activations are causal, and let itself be traced by
    ``torch.fx``, which harvests need. Otherwise the command is refused with the reason.

    Args:
        name: A Python identifier that no other blueprint has.
        build: Takes the ``Activations`` of a slot and returns the branch. An error that it
            raises is the reason why the blueprint does not fit the slot.
        topologies: The kinds of activations that the branch takes: ``Topology.CNN`` for maps,
            which reach it with the channels second, ``TRANSFORMER`` for tokens, ``MLP`` for
            vectors.
        parameters: Returns the number of parameters of a branch; without it one is built on
            the meta device where the number is asked for.
        replace: Whether a blueprint that was registered under the name before gives way, as in
            a notebook cell that is run again.

    Returns:
        What is known of the blueprint, such as its number of parameters in a slot.

    Raises:
        KasminaError: If the name is none or is taken, or another argument is not what it
            should be.
    """
    chosen = _topologies_of(topologies)
    _check_name(name, replace=replace)
    for what, value, optional in (("build", build, False), ("parameters", parameters, True)):
        if not callable(value) and not (optional and value is None):
            raise KasminaError(
                f"{what} of blueprint '{name}' is {shown(value)}; "
                "give a function that takes Activations"
            )
    spec = BlueprintSpec(blueprint=name, topologies=chosen, build=build, parameters=parameters)
    unregister_blueprint(name)
    _add(spec)
    return spec


def unregister_blueprint(name: str) -> None:
    """Removes a registered blueprint, if there is one of this name; seeds of it live on.

    Raises:
        KasminaError: If it is built in.
    """
    if isinstance(name, Blueprint):
        raise KasminaError(f"blueprint {name.name} is built in and stays")
    for specs in _known.values():
        specs.pop(name, None)


def why_unfit(blueprint: object, activations: Activations) -> str | None:
    """Returns why there is no such blueprint for some activations, ``None`` if there is."""
    topology = activations.topology
    fitting = BLUEPRINTS[topology]
    allowed = ", ".join(spec.name for spec in fitting.values())
    if isinstance(blueprint, Blueprint):
        known: object = True
    elif isinstance(blueprint, str):
        known = any(blueprint in specs for specs in BLUEPRINTS.values())
    else:
        return f"{shown(blueprint)} is no Blueprint; allowed: {allowed}"
    if not known:
        return _unknown(str(blueprint), allowed)
    if blueprint in fitting:
        return None
    assert isinstance(blueprint, Blueprint | str)
    return (
        f"blueprint {blueprint_name(blueprint)} does not fit a slot of a {topology.value}; "
        f"allowed: {allowed}"
    )


def _unknown(name: str, allowed: str) -> str:
    member = Blueprint.__members__.get(name.upper())
    if member is not None:
        return f"{shown(name)} is no Blueprint, but Blueprint.{member.name} is; allowed: {allowed}"
    return (
        f"{shown(name)} is no Blueprint and no name that was registered; allowed: {allowed}, or "
        f"register_blueprint({shown(name)}, ...) first"
    )


def _check_name(name: object, *, replace: bool) -> None:
    if not isinstance(name, str) or isinstance(name, Blueprint) or not name.isidentifier():
        raise KasminaError(
            f"a blueprint cannot be named {shown(name)}; "
            "give a Python identifier, such as 'MY_BLOCK'"
        )
    if name.upper() in Blueprint.__members__:
        raise KasminaError(f"blueprint '{name}' is built in; choose another name")
    if not replace and any(name in specs for specs in BLUEPRINTS.values()):
        raise KasminaError(
            f"blueprint '{name}' is registered already; choose another name, or say replace=True"
        )


def _topologies_of(given: object) -> frozenset[Topology]:
    several = (given,) if isinstance(given, str) or not isinstance(given, Iterable) else given
    chosen = list(several)
    if not chosen or not all(isinstance(each, Topology) for each in chosen):
        raise KasminaError(
            f"topologies are {shown(given)}; give at least one of Topology.CNN (maps), "
            "Topology.TRANSFORMER (tokens) and Topology.MLP (vectors)"
        )
    return frozenset(chosen)
