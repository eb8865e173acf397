"""A model with slots in it, which are forward hooks of its submodules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from esper_kasmina.errors import KasminaError
from esper_kasmina.host import SlottedHost
from esper_kasmina.inference import LayerSizes, check_tensor, infer, layer_sizes
from esper_kasmina.outputs import OutputKey, replace_output, select_output
from esper_kasmina.path_host import check_configurations, split_overrides
from esper_kasmina.replay import Prefix
from esper_kasmina.slot import SeedSlot


class Grafted(SlottedHost):
    """A model with slots in it; made by ``graft``.

    Attributes that it does not have itself are the model's, so ``grafted.fc`` is
    ``grafted.model.fc``.

    Attributes:
        model: The model as it was given, with a forward hook at every slot's place.
        places: The submodule of each slot, by slot id.
        hooks: The hook of each slot, in the order of the slots.
    """

    def __init__(
        self,
        model: nn.Module,
        slots: Mapping[str, SeedSlot],
        places: Mapping[str, str],
        *,
        outputs: Mapping[str, OutputKey],
        max_seeds: int | None,
    ) -> None:
        super().__init__(slots, max_seeds=max_seeds)
        for name, path in places.items():
            slot = slots[name]
            slot.follows_inputs = not slot.follow_module(model.get_submodule(path))
            if slot.follows_inputs:
                slot.follow_module(model)
        self.train(model.training)
        self.model = model
        self.places = dict(places)
        sizes = layer_sizes(model)
        self.hooks = tuple(
            SlotHook(slots[name], path, output=outputs.get(name), model_sizes=sizes)
            for name, path in places.items()
        )
        # Kept because unpickling a handle keeps later hooks from taking its number.
        self._handles: tuple[RemovableHandle, ...] = tuple(
            model.get_submodule(hook.path).register_forward_hook(hook) for hook in self.hooks
        )
        self._watching = True

    def forward(self, *inputs: Any, alpha: Tensor | None = None, **options: Any) -> Any:
        """Runs the model.

        Args:
            inputs: The model's own positional arguments.
            alpha: [B, S] overrides per sample and enabled slot; NaN keeps the seed's own.
            options: The model's own keyword arguments.

        Returns:
            Whatever the model returns.
        """
        # Compiled code cannot count; there places are taken on trust until an eager pass.
        if self._watching and not torch.compiler.is_compiling():
            return self._first_pass(*inputs, alpha=alpha, **options)
        if alpha is None:
            return self.model(*inputs, **options)
        with self._overridden(self._samples(inputs), alpha):
            return self.model(*inputs, **options)

    @torch.no_grad()
    def look(self, example_inputs: Any) -> None:
        """Runs one pass in evaluation mode, so that the slots see what flows through them.

        Raises:
            KasminaError: If the model does not take these inputs, or a slot not what flows.
        """
        modes = {module: module.training for module in self.modules()}
        self.eval()
        try:
            self(*_as_arguments(example_inputs))
        except (TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise KasminaError(
                f"the {type(self.model).__name__} does not run on the example_inputs; give one "
                f"input, or a tuple of positional ones ({type(error).__name__}: {reason})"
            ) from error
        finally:
            for module, mode in modes.items():
                module.training = mode

    def counterfactuals(self, inputs: Any, disabled: Sequence[frozenset[str]]) -> Tensor:
        """Runs the model once for each set of slots held at alpha zero.

        What was computed before the first slot that differs is replayed, and
        configurations that differ only in slots without effect are one. Run it in
        evaluation mode without gradients; the model has to return one tensor.

        Args:
            inputs: One input, or a tuple of positional ones.
            disabled: The slots to hold at zero in each configuration.

        Returns:
            Outputs [len(disabled), ...].

        Raises:
            KasminaError: If a slot is not enabled, or the model returns no tensor.
        """
        check_configurations(self, disabled)
        arguments = _as_arguments(inputs)
        if self._watching:
            self._first_pass(*arguments)
        effective = frozenset(s.name for s in self._slots if s.active and s.alpha > 0.0)
        prefix = Prefix(self.model, {hook.path: hook.slot for hook in self.hooks})
        outputs: dict[frozenset[str], Tensor] = {}
        for off in [frozenset(), *(effective & each for each in disabled)]:
            if off not in outputs:
                output = prefix.run(off, *arguments)
                outputs[off] = check_tensor(output, place=f"the {type(self.model).__name__}")
        chosen = [outputs[effective & each] for each in disabled]
        return torch.stack(chosen) if chosen else outputs[frozenset()].unsqueeze(0)[:0]

    def release(self) -> nn.Module:
        """Takes the slots out of the model for good, and returns it."""
        for handle in self._handles:
            handle.remove()
        self._handles, self.hooks, self._watching = (), (), False
        return self.model

    def __getattr__(self, name: str) -> Any:
        """Looks an attribute up here, then in the model."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "model" or "model" not in self.__dict__.get("_modules", {}):
                raise
        return getattr(self.model, name)

    def _first_pass(self, *inputs: Any, alpha: Tensor | None = None, **options: Any) -> Any:
        """Runs the model and checks that each place is passed once."""
        for hook in self.hooks:
            hook.passes = 0
            hook.counting = True
        self._watching = False
        try:
            output = self(*inputs, alpha=alpha, **options)
        except BaseException:
            self._watching = True
            raise
        finally:
            for hook in self.hooks:
                hook.counting = False
        # A place that was not reached (an auxiliary head, say) is looked at later.
        self._watching = any(hook.passes == 0 for hook in self.hooks)
        return output

    def _samples(self, inputs: tuple[Any, ...]) -> int:
        """Counts the samples of a batch by the first tensor handed in."""
        for each in inputs:
            if isinstance(each, Tensor):
                second = any(s.activations and not s.activations.batch_first for s in self._slots)
                return each.shape[1 if second else 0]
        raise KasminaError(
            "overrides need a tensor among the positional inputs, to count its samples"
        )

    @contextmanager
    def _overridden(self, samples: int, alpha: Tensor) -> Iterator[None]:
        columns = split_overrides(self, samples, alpha)
        for slot in self._slots:
            slot.override = columns[slot.name]
        try:
            yield
        finally:
            for slot in self._slots:
                slot.override = None


class SlotHook:
    """Runs a slot on what a submodule returns; an object, so that a copy holds a copied slot.

    Attributes:
        slot: The slot.
        path: Name of the submodule.
        output: The element that the slot takes; ``None`` where the submodule returns one
            tensor.
        model_sizes: The sizes of the model's layers.
        container: The type of what the submodule returned.
        counting: Whether passes are counted now.
        passes: How many there were.
    """

    def __init__(
        self, slot: SeedSlot, path: str, *, output: OutputKey | None, model_sizes: LayerSizes
    ) -> None:
        self.slot = slot
        self.path = path
        self.output = output
        self.model_sizes = model_sizes
        self.container: type | None = None
        self.counting = False
        self.passes = 0

    def __call__(self, module: nn.Module, _inputs: Any, output: Any) -> Any:
        """Returns the module's output with the slot's in its place."""
        place = f"submodule '{self.path}'"
        key = self.output
        element = output if key is None else select_output(output, key, place=place)
        if self.container is None:
            self.container = type(output)
        tensor = check_tensor(element, place=place)
        if self.counting:
            self._count()
        if self.slot.activations is None:
            known = infer(tensor, place=place, module=module, model_sizes=self.model_sizes)
            self.slot.bind(known, example=tensor)
        grown = self.slot(tensor)
        return grown if key is None else replace_output(output, key, grown)

    def _count(self) -> None:
        self.passes += 1
        if self.passes > 1:
            raise KasminaError(
                f"submodule '{self.path}' runs several times in one forward pass; a seed there "
                "would have to fit all of them, so choose one that runs once"
            )


def _as_arguments(inputs: Any) -> tuple[Any, ...]:
    return inputs if isinstance(inputs, tuple) else (inputs,)
