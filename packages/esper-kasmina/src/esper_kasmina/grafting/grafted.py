"""A model with slots that run as forward hooks of its submodules."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from esper_kasmina._torch import forward_pre_hooks
from esper_kasmina.activations.inference import check_tensor, layer_sizes
from esper_kasmina.activations.outputs import OutputKey
from esper_kasmina.errors import KasminaError
from esper_kasmina.grafting.attributes import ModelWrapper
from esper_kasmina.grafting.prefix_cache import PrefixCache
from esper_kasmina.grafting.slot_hooks import PassHook, SlotHook, without_compiled
from esper_kasmina.hosts.sequential import check_configurations, split_overrides
from esper_kasmina.slots.slot import SeedSlot


def as_arguments(inputs: Any) -> tuple[Any, ...]:
    """Returns one input, or a tuple of inputs, as positional arguments."""
    return inputs if isinstance(inputs, tuple) else (inputs,)


class Grafted(ModelWrapper):
    """A model with slots, made by ``graft``.

    An attribute that this wrapper does not have is the model's: ``grafted.fc`` is
    ``grafted.model.fc``, and ``grafted.fc = nn.Linear(...)`` replaces that. Items, length and
    iteration are the model's too.

    Attributes:
        model: The model that was given, the same object, with a forward hook for each slot. A
            call of it runs its seeds too.
        sites: Name of each slot's submodule, by slot id.
    """

    def __init__(
        self,
        model: nn.Module,
        slots: Mapping[str, SeedSlot],
        sites: Mapping[str, str],
        *,
        outputs: Mapping[str, OutputKey],
        max_seeds: int | None,
    ) -> None:
        super().__init__(slots, max_seeds=max_seeds)
        for name, path in sites.items():
            slot = slots[name]
            slot.module_path = without_compiled(path)
            slot.follows_inputs = not slot.match_module(model.get_submodule(path))
            if slot.follows_inputs:
                slot.match_module(model)
        self.train(model.training)
        self.sites = dict(sites)
        sizes = layer_sizes(model)
        self._hooks = tuple(
            SlotHook(slots[name], path, output=outputs.get(name), model_sizes=sizes)
            for name, path in sites.items()
        )
        self._pass_hook = PassHook(self._hooks)
        self._model_takes_alpha = "alpha" in inspect.signature(model.forward).parameters
        # Unpickling the handles keeps torch from giving their ids to other hooks.
        self._handles: tuple[RemovableHandle, ...] = tuple(
            model.get_submodule(hook.path).register_forward_hook(hook) for hook in self._hooks
        )
        self._pass_handle = model.register_forward_pre_hook(self._pass_hook, with_kwargs=True)
        # Whether passes are checked, until one has run every slot.
        self._checks_passes = True
        self.register_load_state_dict_post_hook(_match_empty_slots)  # type: ignore[no-untyped-call]
        self.model = model  # last, because from here on new attributes are set in the model

    def forward(self, *inputs: Any, alpha: Tensor | None = None, **options: Any) -> Any:
        """Runs the model.

        Args:
            inputs: The model's own positional arguments.
            alpha: [B, S] overrides per sample and enabled slot; NaN keeps the seed's own alpha.
                If the model's ``forward`` has an argument of this name, it is passed to the model.
            options: The model's own keyword arguments.

        Returns:
            What the model returns.

        Raises:
            KasminaError: If a slot no longer runs because its submodule was replaced, or if a
                training pass does not run a slot's submodule.
        """
        if self._model_takes_alpha and alpha is not None:
            options, alpha = {**options, "alpha": alpha}, None
        # Compiled code cannot count, so slots are checked in the first pass that is not compiled.
        if self._checks_passes and not torch.compiler.is_compiling():
            return self._run_checked(*inputs, alpha=alpha, **options)
        if not self._handles:
            raise KasminaError(
                "release() has taken the slots out; run the model that it returned, or graft that"
            )
        if self._pass_handle.id not in forward_pre_hooks(self.model):
            self._check_hooks()  # the model itself was replaced
        if alpha is None:
            return self.model(*inputs, **options)
        with self._overridden(self._batch_size(inputs), alpha):
            return self.model(*inputs, **options)

    @torch.no_grad()
    def run_example(self, example_inputs: Any) -> None:
        """Runs one pass in evaluation mode, from which slots infer their activations.

        Args:
            example_inputs: One input, or a tuple of positional inputs.

        Raises:
            KasminaError: If the model does not run on these inputs, or a slot cannot take the
                activations.
        """
        modes = {module: module.training for module in self.modules()}
        self.eval()
        try:
            self(*as_arguments(example_inputs))
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            reason = " ".join(str(error).split())
            raise KasminaError(
                f"the {type(self.model).__name__} does not run on the example_inputs; give one "
                "input, or a tuple of positional ones; without example_inputs the first forward "
                f"pass shows what flows ({type(error).__name__}: {reason})"
            ) from error
        finally:
            for module, mode in modes.items():
                module.training = mode

    def counterfactuals(self, inputs: Any, disabled: Sequence[frozenset[str]]) -> Tensor:
        """Runs the model once for each set of slots held at alpha zero.

        What precedes the first slot that differs is computed once. Configurations that differ
        only in slots without effect are computed once. Call it in evaluation mode without
        gradients.

        Args:
            inputs: One input, or a tuple of positional inputs.
            disabled: The slots to hold at zero in each configuration.

        Returns:
            Outputs [len(disabled), ...].

        Raises:
            KasminaError: If a slot is not enabled, or the model does not return one tensor.
        """
        check_configurations(self, disabled)
        arguments = as_arguments(inputs)
        if self._checks_passes:
            self._run_checked(*arguments)
        effective = frozenset(s.name for s in self._slots if s.active and s.alpha > 0.0)
        cache = PrefixCache(self.model, {hook.path: hook.slot for hook in self._hooks})
        outputs: dict[frozenset[str], Tensor] = {}
        for off in [frozenset(), *(effective & each for each in disabled)]:
            if off not in outputs:
                output = cache.run(off, *arguments)
                outputs[off] = check_tensor(output, where=f"the {type(self.model).__name__}")
        chosen = [outputs[effective & each] for each in disabled]
        return torch.stack(chosen) if chosen else outputs[frozenset()].unsqueeze(0)[:0]

    def release(self, keep: Sequence[RemovableHandle] = ()) -> nn.Module:
        """Removes the slots from the model and returns it; this cannot be undone.

        Args:
            keep: Handles of hooks that stay, because their hooks were replaced by others.
        """
        for handle in (*self._handles, self._pass_handle):
            if handle not in keep:
                handle.remove()
        self._handles, self._hooks, self._checks_passes = (), (), False
        return self.model

    @property
    def last_inputs(self) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Positional and keyword arguments of the last pass with a seed in the model."""
        return self._pass_hook.inputs

    @property
    def slot_hooks(self) -> tuple[tuple[SlotHook, RemovableHandle], ...]:
        """The slots' forward hooks and their handles, row-major."""
        return tuple(zip(self._hooks, self._handles, strict=True))

    def _run_checked(self, *inputs: Any, alpha: Tensor | None = None, **options: Any) -> Any:
        """Runs the model and checks that each slot's submodule runs exactly once."""
        for hook in self._hooks:
            hook.passes = 0
            hook.counting = True
        self._checks_passes = False
        try:
            output = self(*inputs, alpha=alpha, **options)
        except BaseException:
            self._checks_passes = True
            raise
        finally:
            for hook in self._hooks:
                hook.counting = False
        self._checks_passes = any(not hook.reached for hook in self._hooks)
        self._check_reached()
        return output

    def _check_reached(self) -> None:
        """Checks that every slot has run.

        In evaluation mode a slot without effect need not run: its submodule may run in training
        only, as that of an auxiliary head.
        """
        for hook in self._hooks:
            if not hook.reached and (self.training or hook.slot.active):
                raise KasminaError(
                    f"a forward pass did not run submodule '{hook.path}', so slot "
                    f"'{hook.slot.name}' does nothing there; choose a submodule that the model "
                    "calls (a layer whose weight is read without calling it, such as out_proj "
                    "of nn.MultiheadAttention, is not one)"
                )

    def _check_hooks(self) -> None:
        for hook in self._hooks:
            hook.check_registered(self.model)

    def _batch_size(self, inputs: tuple[Any, ...]) -> int:
        """Returns the number of samples in the first positional tensor."""
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


def _match_empty_slots(grafted: nn.Module, _incompatible_keys: Any) -> None:
    """Gives empty slots the dtype and device of weights that ``load_state_dict`` has assigned."""
    assert isinstance(grafted, Grafted)
    for hook, _ in grafted.slot_hooks:
        if hook.slot.seed is None and not hook.slot.follows_inputs:
            hook.slot.match_module(grafted.model.get_submodule(hook.path))
