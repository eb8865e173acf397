"""The precision of a host: float32, or mixed precision by autocast and loss scaling."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.optim import Optimizer

from esper_leyline import TrainingConfig


class Precision:
    """The precision of one host. Parameters and optimizer state are always float32.

    In mixed precision forward passes run under torch's autocast. Small gradients would
    underflow in float16, so there the loss is multiplied by a scale and the gradients are divided
    by it (Micikevicius et al., "Mixed precision training", 2018). A batch whose gradients overflow
    is skipped, for the host and its seeds, and the scale is halved.
    """

    def __init__(
        self, dtype: torch.dtype | None = None, device: torch.device | None = None
    ) -> None:
        """Takes the autocast dtype (``None`` is float32) and the device (``None`` is the CPU)."""
        self._dtype = dtype
        self._device = "cpu" if device is None else device.type
        scaled = dtype is torch.float16
        self._scaler = torch.amp.GradScaler(self._device) if scaled else None

    @property
    def mixed(self) -> bool:
        """Whether forward passes run in a lower precision than float32."""
        return self._dtype is not None

    def autocast(self) -> AbstractContextManager[object]:
        """Returns the context of a forward pass and its loss."""
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self._device, dtype=self._dtype)

    def backward(self, loss: Tensor) -> None:
        """Computes the gradients of a loss; they stay scaled until ``unscale`` or ``step``."""
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()

    def unscale(self, optimizer: Optimizer) -> bool:
        """Divides the gradients by the loss scale, for code that reads them before the step.

        Returns:
            False if the gradients overflowed only because of the loss scale.
        """
        if self._scaler is None:
            return True
        self._scaler.unscale_(optimizer)
        groups = (group["params"] for group in optimizer.param_groups)
        gradients = [each.grad for group in groups for each in group if each.grad is not None]
        return bool(torch.stack([each.isfinite().all() for each in gradients]).all())

    def step(self, optimizer: Optimizer) -> None:
        """Updates the parameters, unless gradients overflowed."""
        if self._scaler is None:
            optimizer.step()
            return
        self._scaler.step(optimizer)
        self._scaler.update()


def build_precision(config: TrainingConfig, device: torch.device) -> Precision:
    """Builds the precision of a fresh host from a configuration."""
    narrow = {"bfloat16": torch.bfloat16, "float16": torch.float16}[config.amp_dtype]
    return Precision(narrow if config.amp else None, device)
