"""The interface of a policy that Simic trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from torch.nn import Parameter

from esper_leyline.ports import ActorCritic, HostActorCritic


class TrainablePolicy(ActorCritic, Protocol):
    """An ``ActorCritic`` that is a ``torch.nn.Module``."""

    def parameters(self) -> Iterator[Parameter]:
        """Iterates over the trainable parameters."""

    def state_dict(self) -> dict[str, Any]:
        """Returns weights and statistics."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Loads what ``state_dict`` returned."""


class TrainableHostPolicy(TrainablePolicy, HostActorCritic, Protocol):
    """A policy that decides for hosts and can be trained."""
