"""All blueprints: built-in ones, registered ones, and those of plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, cast

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
"""The built-in blueprints, and those registered or loaded so far, by topology and name."""


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
    """Adds a blueprint of your own, for this process.

    Its name is used like that of a built-in one: ``grow(model, "r0c0", "my_block", ...)``,
    ``Germinate(blueprint="my_block")``. State dicts store the name, so register the blueprint
    before you load one; harvests do not need it. A distribution adds a blueprint to every process,
    and to training runs, with an entry point of the group ``esper.blueprints`` that refers to a
    ``BlueprintSpec``.

    A seed is x + scale · branch(x). The scale starts at 0, so initialise the branch as usual.
    Before each germination, a branch is built and run on small random batches of two sizes. It must

    - return the shape and dtype of its input, and not modify its input,
    - return finite numbers that are not all 0,
    - draw no random numbers in its forward pass (dropout would change the numbers that the model's
      own layers draw),
    - not depend on later tokens if the activations are causal,
    - be traceable by ``torch.fx``, for harvests.

    Otherwise the command is refused with the reason.

    Args:
        name: A Python identifier that no other blueprint has.
        build: Takes the ``ActivationSpec`` of a slot and returns the branch. If it raises an
            error, the command is refused with that error as the reason.
        topologies: The kinds of activations that the branch takes: ``Topology.CNN`` for maps,
            always with the channels second, ``TRANSFORMER`` for tokens, ``MLP`` for vectors.
        parameters: Returns the number of parameters of a branch. Without it, a branch is built on
            the meta device when the number is needed.
        replace: Whether to replace a blueprint that was registered with this name before, as in
            a notebook cell that is run again.

    Returns:
        The blueprint.

    Raises:
        KasminaError: If the name is not an identifier or is taken, or another argument is invalid.
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
    """Removes a registered blueprint, if there is one of this name; its seeds stay.

    Raises:
        KasminaError: If it is a built-in one.
    """
    if name in BUILT_IN_BLUEPRINTS:
        raise KasminaError(f"blueprint '{name}' is built in and stays")
    for specs in _known.values():
        specs.pop(name, None)


def why_unfit(blueprint: object, topology: Topology) -> str | None:
    """Returns why a blueprint cannot be used for a topology, ``None`` if it can.

    A plugin's blueprint is imported here, when it is first used. If a plugin's blueprint has the
    name of a built-in one, the reason names the plugin.

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
    one = isinstance(given, str) or not isinstance(given, Iterable)
    topologies: list[Any] = [given] if one else [*cast("Iterable[Any]", given)]
    if not topologies or not all(isinstance(each, Topology) for each in topologies):
        raise KasminaError(
            f"topologies are {shown(given)}; give at least one of Topology.CNN (maps), "
            "Topology.TRANSFORMER (tokens) and Topology.MLP (vectors)"
        )
    return frozenset(topologies)
