"""Adds slots to any model."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from esper_kasmina._torch import COMPILED, is_compiled
from esper_kasmina.activations.outputs import OutputKey
from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.checks import check_model, shown
from esper_kasmina.errors import KasminaError
from esper_kasmina.grafting.attributes import hidden_names
from esper_kasmina.grafting.grafted import Grafted
from esper_kasmina.grafting.slot_hooks import without_compiled
from esper_kasmina.slots.lookup import seed_slots
from esper_kasmina.slots.slot import SeedSlot
from esper_leyline import LeylineError, LifecycleRules
from esper_leyline.slots import order_slots

_PARALLEL = (DataParallel, DistributedDataParallel)


@dataclass(frozen=True, slots=True)
class SlotSite:
    """A submodule after which a slot is placed, and the kind of activations there.

    Attributes:
        module: Name of the submodule, as in ``named_modules``.
        activations: The kind of activations that it returns; ``None`` infers it from an output.
            It has to be given if the output does not show it, such as for tokens of a language
            model (``ActivationSpec.tokens(width, causal=True)``).
        output: The element that the slot takes if the submodule returns several: a position in
            a tuple, or a key or field such as ``"last_hidden_state"``. The other elements are
            returned unchanged.
    """

    module: str
    activations: ActivationSpec | None = None
    output: OutputKey | None = None

    def __post_init__(self) -> None:
        """Checks every value.

        Raises:
            KasminaError: If one has the wrong type.
        """
        if not isinstance(self.module, str):
            raise KasminaError(
                f"the site is {shown(self.module)}; give the name of a submodule, such as 'layer2'"
            )
        if not isinstance(self.activations, ActivationSpec | None):
            raise KasminaError(
                f"{shown(self.activations)} is not an ActivationSpec; give one, such as "
                "ActivationSpec.maps(8), or None"
            )
        if not isinstance(self.output, int | str | None):
            raise KasminaError(
                f"output is {shown(self.output)}; give a position, such as 0, or a name, such as "
                "'last_hidden_state'"
            )


def graft(
    model: nn.Module,
    sites: Mapping[str, str | SlotSite],
    *,
    example_inputs: Any = None,
    rules: LifecycleRules | None = None,
    max_seeds: int | None = None,
    rng_seed: int = 0,
) -> Grafted:
    """Adds slots to a model, each after a submodule.

    The slots run as forward hooks of the submodules. The model's code, outputs, parameters and
    their names stay the same. The kinds of activations are inferred from ``example_inputs``, or
    else in the first forward pass. If a part of the model is compiled,
    ``torch.compiler.reset()`` is called, so that torch compiles it again with its slots.

    Args:
        model: Any module.
        sites: The submodule after which each slot is placed, by slot id: its name, such as
            ``"layer2"``, or a ``SlotSite``.
        example_inputs: One input, or a tuple of positional inputs. With them, ``graft`` runs one
            forward pass in evaluation mode without gradients.
        rules: What the lifecycle accepts; ``None`` takes the permissive defaults.
        max_seeds: Largest number of seeds at a time, fossilized ones included; ``None`` allows
            one in each slot.
        rng_seed: Random seed from which the weights of every seed are drawn.

    Returns:
        The model as a ``MorphogeneticHost``; train, save and wrap it like any module.

    Raises:
        KasminaError: If a submodule does not exist, is given twice or returns something that no
            slot can take, or if the model has slots already, has attributes that the grafted
            model would hide, or does not run on ``example_inputs``.
    """
    _check_types(model, sites)
    if seed_slots(model):
        raise KasminaError("the model has slots already; name all of them in one graft")
    if not sites:
        raise KasminaError("no sites for slots; name at least one, such as {'r0c0': 'layer2'}")
    wanted = {name: _as_site(site) for name, site in sites.items()}
    try:
        ordered = order_slots(wanted)
    except LeylineError as error:
        raise KasminaError(str(error)) from None
    _check_attributes(model)
    paths = {name: _full_name(model, wanted[name].module) for name in ordered}
    _check_sites(model, list(paths.values()))
    slots = {
        name: SeedSlot(name, wanted[name].activations, rules=rules, rng_seed=rng_seed)
        for name in ordered
    }
    outputs = {name: key for name, site in wanted.items() if (key := site.output) is not None}
    grafted = Grafted(model, slots, paths, outputs=outputs, max_seeds=max_seeds)
    if any(is_compiled(module) for module in model.modules()):
        torch.compiler.reset()  # code compiled earlier would run without the slots' hooks
    if example_inputs is not None:
        try:
            grafted.run_example(example_inputs)
        except KasminaError:
            grafted.release()  # leaves the model unchanged
            raise
    return grafted


def _check_types(model: object, sites: object) -> None:
    check_model(model)
    if isinstance(model, torch.jit.ScriptModule):
        raise KasminaError(
            "the model is compiled by TorchScript; graft the model before torch.jit, and script "
            "its harvest"
        )
    if not isinstance(sites, Mapping):
        raise KasminaError(
            f"sites are a {_type_name(sites)}; give slot ids and submodules, "
            "such as {'r0c0': 'layer2'}"
        )
    for name, site in sites.items():
        if not isinstance(site, str | SlotSite):
            raise KasminaError(
                f"slot '{name}' was given a {_type_name(site)}; give the submodule's name, "
                "such as 'layer2', or a SlotSite"
            )


def _check_attributes(model: nn.Module) -> None:
    if isinstance(model, _PARALLEL):
        raise KasminaError(
            f"the model is a {_type_name(model)}, which would not see the seeds; graft the "
            "model in it, and wrap the result"
        )
    hidden = hidden_names(getattr(model, COMPILED, model), Grafted)
    if hidden:
        names = ", ".join(f"'{name}'" for name in hidden)
        raise KasminaError(
            f"the model has attributes that the grafted model has too: {names}; rename them, or "
            "graft a module that holds the model"
        )


def _full_name(model: nn.Module, path: str) -> str:
    """Returns the name of a submodule in ``named_modules``; ``path`` may lack compiled wrappers."""
    names = [name for name, _ in model.named_modules(remove_duplicate=False)]
    if path in names:
        return path
    return next((name for name in names if without_compiled(name) == path), path)


def _has_forward(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward or "forward" in vars(module)


def _type_name(value: object) -> str:
    return type(value).__name__


def _as_site(site: str | SlotSite) -> SlotSite:
    return site if isinstance(site, SlotSite) else SlotSite(site)


def _check_sites(model: nn.Module, paths: Sequence[str]) -> None:
    names: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(id(module), []).append(name)
    known = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
    for path in paths:
        if path not in known:
            listed = {without_compiled(name): module for name, module in known.items()}
            listed.pop(COMPILED, None)
            raise KasminaError(_unknown(path, listed))
        aliases = names[id(known[path])]
        if len(aliases) > 1:
            raise KasminaError(
                f"submodule '{path}' is shared (also '{next(a for a in aliases if a != path)}'); "
                "choose one that belongs to one site"
            )
        if not _has_forward(known[path]):
            raise KasminaError(
                f"submodule '{path}' is a {type(known[path]).__name__}, which is never run "
                "itself; choose one of its members"
            )
    for path in paths:
        if paths.count(path) > 1:
            raise KasminaError(f"submodule '{path}' was given two slots; give it one")


def _unknown(path: str, known: Mapping[str, nn.Module]) -> str:
    near = difflib.get_close_matches(path, known, n=1) or [
        name for name in known if "." not in name
    ]
    hint = f"did you mean '{near[0]}'?" if len(near) == 1 else f"there are {', '.join(near[:12])}"
    return f"the model has no submodule '{path}'; {hint}"
