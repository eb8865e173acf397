"""The blueprints that there are: built-in ones, and those that users register."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.blueprints import cnn, tokens
from esper_kasmina.blueprints.cnn import (
    bottleneck,
    conv_heavy,
    conv_light,
    conv_small,
    depthwise,
)
from esper_kasmina.blueprints.spec import BlueprintSpec, BranchBuilder
from esper_kasmina.blueprints.tokens import flex_attention, lora, mlp
from esper_kasmina.checks import shown
from esper_kasmina.errors import KasminaError
from esper_leyline import BUILT_IN_BLUEPRINTS, Blueprint, EsperError, Registry, Topology

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

_known: dict[Topology, dict[str, BlueprintSpec]] = {each: {} for each in Topology}

BLUEPRINTS: Mapping[Topology, Mapping[str, BlueprintSpec]] = MappingProxyType(
    {topology: MappingProxyType(specs) for topology, specs in _known.items()}
)
"""The built-in blueprints, and those registered or loaded so far, by the topology they fit."""


def _check_plugin(name: str, part: object) -> BlueprintSpec:
    if not isinstance(part, BlueprintSpec):
        raise KasminaError(f"it is {shown(part)}; an entry point refers to a BlueprintSpec")
    if part.blueprint != name:
        raise KasminaError(f"its BlueprintSpec is called '{part.blueprint}'; give both one name")
    _check_name(name)
    return part


_PLUGINS = Registry("blueprint", "esper.blueprints", _check_plugin)


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
    parameters: Callable[[ActivationSpec], int] | None = None,
    replace: bool = False,
) -> BlueprintSpec:
    """Adds a blueprint of your own, which seeds of this process can then be made of.

    Its name is used like that of a built-in one: ``grow(model, "r0c0", "my_block", ...)``,
    ``Germinate(blueprint="my_block")``. State dicts name it, so register it before one is loaded;
    harvests do not need it. A distribution adds one for every process, and for training runs,
    with an entry point of the group ``esper.blueprints`` that refers to a ``BlueprintSpec``.

    A seed is x + scale · branch(x) with a scale that starts at 0, so the branch itself needs no
    zero. Before each birth a branch is tried on small random batches of two sizes: it has to
    keep shape and dtype, leave its input as it is, return finite numbers that are not all 0,
    draw no random numbers in its forward pass (dropout would change what the model's own layers
    draw), look at no later token where activations are causal, and let itself be traced by
    ``torch.fx``, which harvests need. Otherwise the command is refused with the reason.

    Args:
        name: A Python identifier that no other blueprint has.
        build: Takes the ``ActivationSpec`` of a slot and returns the branch. An error that it
            raises is the reason why the blueprint does not fit the slot.
        topologies: The kinds of activations that the branch takes: ``Topology.CNN`` for maps,
            which reach it with the channels second, ``TRANSFORMER`` for tokens, ``MLP`` for
            vectors.
        parameters: Returns the number of parameters of a branch; without it one is built on
            the meta device if the number is needed.
        replace: Whether a blueprint that was registered under the name before is replaced, as in
            a notebook cell that is run again.

    Returns:
        The blueprint, which also counts its parameters in a slot.

    Raises:
        KasminaError: If the name is not an identifier or is taken, or another argument is not
            what it should be.
    """
    chosen = _topologies_of(topologies)
    _check_name(name)
    if name in _PLUGINS or (not replace and _is_known(name)):
        raise KasminaError(
            f"blueprint '{name}' exists already; choose another name, or give replace=True if "
            "you registered it yourself"
        )
    for what, value, optional in (("build", build, False), ("parameters", parameters, True)):
        if not callable(value) and not (optional and value is None):
            raise KasminaError(
                f"{what} of blueprint '{name}' is {shown(value)}; "
                "give a function that takes ActivationSpec"
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
    if name in BUILT_IN_BLUEPRINTS:
        raise KasminaError(f"blueprint '{name}' is built in and stays")
    for specs in _known.values():
        specs.pop(name, None)


def why_unfit(blueprint: object, topology: Topology) -> str | None:
    """Returns why a blueprint cannot be used for a topology, ``None`` if it can.

    A plugin's blueprint is imported here, on first use. A plugin whose blueprint has the name
    of a built-in one is named in the reason.

    Args:
        blueprint: Name of the blueprint.
        topology: The kind of activations in the slot.
    """
    allowed = ", ".join(BLUEPRINTS[topology])
    if not isinstance(blueprint, str):
        return f"{shown(blueprint)} is not the name of a blueprint; allowed: {allowed}"
    try:
        if blueprint in BUILT_IN_BLUEPRINTS:
            _PLUGINS.check_built_in(blueprint)
        elif not _is_known(blueprint) and blueprint in _PLUGINS:
            _add(_PLUGINS.get(blueprint))
    except EsperError as error:
        return str(error)
    if not _is_known(blueprint):
        return _unknown(blueprint, allowed)
    if blueprint in BLUEPRINTS[topology]:
        return None
    return (
        f"blueprint '{blueprint}' does not fit a slot of topology '{topology}'; allowed: {allowed}"
    )


def _is_known(name: str) -> bool:
    return name in BUILT_IN_BLUEPRINTS or any(name in specs for specs in BLUEPRINTS.values())


def _unknown(name: str, allowed: str) -> str:
    if name.lower() in BUILT_IN_BLUEPRINTS:
        return f"unknown blueprint {shown(name)} (did you mean '{name.lower()}'?)"
    return (
        f"unknown blueprint {shown(name)}; allowed: {allowed}; to add one, call "
        f"register_blueprint({shown(name)}, ...) first, or install the plugin that has it"
    )


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii():
        raise KasminaError(
            f"a blueprint cannot be called {shown(name)}; "
            "give an ASCII Python identifier, such as 'my_block'"
        )
    if name.lower() in BUILT_IN_BLUEPRINTS:
        raise KasminaError(f"blueprint '{name.lower()}' is built in; choose another name")


def _topologies_of(given: object) -> frozenset[Topology]:
    several = (given,) if isinstance(given, str) or not isinstance(given, Iterable) else given
    chosen = list(several)
    if not chosen or not all(isinstance(each, Topology) for each in chosen):
        raise KasminaError(
            f"topologies are {shown(given)}; give at least one of Topology.CNN (maps), "
            "Topology.TRANSFORMER (tokens) and Topology.MLP (vectors)"
        )
    return frozenset(chosen)
