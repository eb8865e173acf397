"""What Simic asks of a policy that it trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from torch.nn import Parameter

from esper_leyline.ports import ActorCritic


class TrainablePolicy(ActorCritic, Protocol):
    """An ``ActorCritic`` that is a ``torch.nn.Module``.

    Parameters whose qualified name contains ``heads.<head>.`` are taken to be that
    head's own, for its gradient norm.
    """

    def parameters(self) -> Iterator[Parameter]:
        """Iterates over the trainable parameters."""

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Iterates over them with their qualified names."""

    def state_dict(self) -> dict[str, Any]:
        """Returns weights and statistics."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Takes back what ``state_dict`` returned."""
