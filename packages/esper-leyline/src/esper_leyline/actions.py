"""The factored action: eight heads, of which ``op`` decides which others matter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from esper_leyline.errors import LeylineError
from esper_leyline.wire import WIRE_CONFIG


class Op(IntEnum):
    """What to do this step."""

    WAIT = 0
    GERMINATE = 1
    SET_ALPHA_TARGET = 2
    PRUNE = 3
    FOSSILIZE = 4
    ADVANCE = 5


class Blueprint(StrEnum):
    """The built-in kinds of seed module.

    A blueprint is its name. A plugin or a user may add others (``esper_kasmina``), so a contract
    holds any name, and these members are the names that always exist. NOOP is the canonical value
    of an unused head and is never a choice.
    """

    NOOP = "noop"
    CONV_LIGHT = "conv_light"
    ATTENTION = "attention"
    NORM = "norm"
    DEPTHWISE = "depthwise"
    BOTTLENECK = "bottleneck"
    CONV_SMALL = "conv_small"
    CONV_HEAVY = "conv_heavy"
    LORA = "lora"
    LORA_LARGE = "lora_large"
    MLP_SMALL = "mlp_small"
    MLP = "mlp"
    FLEX_ATTENTION = "flex_attention"

    def __repr__(self) -> str:
        """Returns the name quoted, as for a name that was read from a file."""
        return repr(self.value)


BLUEPRINT_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
"""What the name of a blueprint looks like."""

BlueprintName = Annotated[str, Field(pattern=BLUEPRINT_PATTERN, max_length=64)]
"""The name of a built-in blueprint, or of one that a plugin or a user added."""

BUILT_IN_BLUEPRINTS: tuple[str, ...] = tuple(Blueprint)
"""The built-in blueprints in the order of their indices in the blueprint head."""


def blueprint_choices(blueprints: Iterable[str]) -> tuple[str, ...]:
    """Returns the choices of a blueprint head: the built-in ones first, then the others.

    Built-in blueprints keep their indices when others are added, so policies of different tasks
    agree on them. The others follow in the order in which they are given.

    Args:
        blueprints: The blueprints that a task allows.
    """
    added = dict.fromkeys(name for name in blueprints if name not in BUILT_IN_BLUEPRINTS)
    return (*BUILT_IN_BLUEPRINTS, *added)


def blueprint_rows(blueprints: Iterable[str]) -> tuple[str | None, ...]:
    """Returns the blueprints by row of an embedding; ``None`` is the row of an empty slot.

    The row of an empty slot follows the built-in blueprints, and added ones follow it.

    Args:
        blueprints: The blueprints that a task allows.
    """
    choices = blueprint_choices(blueprints)
    return (*choices[:NULL_BLUEPRINT], None, *choices[NULL_BLUEPRINT:])


NULL_BLUEPRINT = len(Blueprint)
"""Embedding index of a slot without a seed; embeddings of added blueprints follow it."""


class Topology(StrEnum):
    """Families of hosts, which decide the blueprints that fit."""

    CNN = "cnn"
    """Feature maps: [B, C, L] or [B, C, H, W]."""
    TRANSFORMER = "transformer"
    """Sequences of tokens: [B, T, D]."""
    MLP = "mlp"
    """Feature vectors: [B, D]."""


TOPOLOGY_BLUEPRINTS: Mapping[Topology, tuple[Blueprint, ...]] = MappingProxyType(
    {
        Topology.CNN: (
            Blueprint.CONV_LIGHT,
            Blueprint.ATTENTION,
            Blueprint.NORM,
            Blueprint.DEPTHWISE,
            Blueprint.BOTTLENECK,
            Blueprint.CONV_SMALL,
            Blueprint.CONV_HEAVY,
        ),
        Topology.TRANSFORMER: (
            Blueprint.ATTENTION,
            Blueprint.NORM,
            Blueprint.LORA,
            Blueprint.LORA_LARGE,
            Blueprint.MLP_SMALL,
            Blueprint.MLP,
            Blueprint.FLEX_ATTENTION,
        ),
        Topology.MLP: (
            Blueprint.NORM,
            Blueprint.LORA,
            Blueprint.LORA_LARGE,
            Blueprint.MLP_SMALL,
            Blueprint.MLP,
        ),
    }
)


class BlendAlgorithm(StrEnum):
    """How a seed's output joins its host's (formulas in ``esper_kasmina``)."""

    ADD = "add"
    MULTIPLY = "multiply"
    GATE = "gate"


class AlphaCurve(IntEnum):
    """Shape of an alpha ramp; the sigmoids differ in steepness."""

    LINEAR = 0
    COSINE = 1
    SIGMOID_6 = 2
    SIGMOID_12 = 3
    SIGMOID_24 = 4


class BlendStyle(IntEnum):
    """A blend algorithm together with the curve of its first ramp."""

    LINEAR_ADD = 0
    LINEAR_MULTIPLY = 1
    SIGMOID_ADD = 2
    GATED_GATE = 3

    @property
    def algorithm(self) -> BlendAlgorithm:
        """The formula by which the seed is blended."""
        return _STYLES[self][0]

    @property
    def curve(self) -> AlphaCurve:
        """The curve of the ramp that starts when blending starts."""
        return _STYLES[self][1]


_STYLES = {
    BlendStyle.LINEAR_ADD: (BlendAlgorithm.ADD, AlphaCurve.LINEAR),
    BlendStyle.LINEAR_MULTIPLY: (BlendAlgorithm.MULTIPLY, AlphaCurve.LINEAR),
    BlendStyle.SIGMOID_ADD: (BlendAlgorithm.ADD, AlphaCurve.SIGMOID_12),
    BlendStyle.GATED_GATE: (BlendAlgorithm.GATE, AlphaCurve.LINEAR),
}

TEMPO_EPOCHS = (3, 5, 8)
"""Epochs the first blend takes, by index of the tempo head."""

ALPHA_TARGETS = (0.5, 0.7, 1.0)
"""Blend strengths, by index of the alpha_target head."""

FULL_ALPHA_TARGET = len(ALPHA_TARGETS) - 1
"""Index of the whole strength among them."""

ALPHA_SPEED_TICKS = (0, 3, 5, 8)
"""Ticks a commanded ramp takes (0: immediately), by index of the alpha_speed head."""

HEADS = (
    "op",
    "slot",
    "blueprint",
    "style",
    "tempo",
    "alpha_target",
    "alpha_speed",
    "alpha_curve",
)
"""The heads in the order in which their tensors are stacked; ``op`` is sampled first."""

RELEVANT_HEADS: Mapping[Op, tuple[str, ...]] = MappingProxyType(
    {
        Op.WAIT: ("op",),
        Op.GERMINATE: ("op", "slot", "blueprint", "style", "tempo", "alpha_target"),
        Op.SET_ALPHA_TARGET: (
            "op",
            "slot",
            "style",
            "alpha_target",
            "alpha_speed",
            "alpha_curve",
        ),
        Op.PRUNE: ("op", "slot", "alpha_speed", "alpha_curve"),
        Op.FOSSILIZE: ("op", "slot"),
        Op.ADVANCE: ("op", "slot"),
    }
)
"""The heads an op reads; every other head takes its canonical value."""

CANONICAL_INDEX = 0
"""The index that an irrelevant head takes."""


def head_sizes(slots: int, blueprints: Sequence[str] = BUILT_IN_BLUEPRINTS) -> dict[str, int]:
    """Returns the number of choices of each head, in ``HEADS`` order.

    Args:
        slots: Number of enabled slots, at least 1.
        blueprints: The choices of the blueprint head, see ``blueprint_choices``.
    """
    sizes = (
        len(Op),
        slots,
        len(blueprints),
        len(BlendStyle),
        len(TEMPO_EPOCHS),
        len(ALPHA_TARGETS),
        len(ALPHA_SPEED_TICKS),
        len(AlphaCurve),
    )
    return dict(zip(HEADS, sizes, strict=True))


def least_entropy(floor: float, choices: int) -> float:
    """Returns the entropy of a head that puts on one choice all that its floor leaves.

    Args:
        floor: Mass spread evenly over the open choices.
        choices: Open choices, at least 2.

    Returns:
        Entropy divided by ln(choices).
    """
    other = floor / choices
    entropy = -(1 - floor + other) * math.log(1 - floor + other)
    if other > 0:
        entropy -= (choices - 1) * other * math.log(other)
    return entropy / math.log(choices)


@dataclass(frozen=True, slots=True, kw_only=True)
class FactoredAction:
    """One decision, each head by index; ``slot`` counts the enabled slots row-major."""

    __pydantic_config__ = WIRE_CONFIG

    op: Op = Op.WAIT
    slot: int = CANONICAL_INDEX
    blueprint: BlueprintName = Blueprint.NOOP
    style: BlendStyle = BlendStyle.LINEAR_ADD
    tempo: int = CANONICAL_INDEX
    alpha_target: int = CANONICAL_INDEX
    alpha_speed: int = CANONICAL_INDEX
    alpha_curve: AlphaCurve = AlphaCurve.LINEAR

    @classmethod
    def from_indices(
        cls, indices: Sequence[int], blueprints: Sequence[str] = BUILT_IN_BLUEPRINTS
    ) -> FactoredAction:
        """Builds an action from one index per head, in ``HEADS`` order.

        Args:
            indices: One index per head.
            blueprints: The choices of the blueprint head, see ``blueprint_choices``.

        Raises:
            LeylineError: If an index is outside its head.
        """
        if len(indices) != len(HEADS):
            raise LeylineError(f"{len(indices)} indices for {len(HEADS)} heads: {list(indices)}")
        sizes = head_sizes(max(1, indices[HEADS.index("slot")] + 1), blueprints)
        for name, index in zip(HEADS, indices, strict=True):
            if not 0 <= index < sizes[name]:
                raise LeylineError(f"head '{name}' has no index {index}; it has {sizes[name]}")
        op, slot, blueprint, style, tempo, target, speed, curve = indices
        return cls(
            op=Op(op),
            slot=slot,
            blueprint=blueprints[blueprint],
            style=BlendStyle(style),
            tempo=tempo,
            alpha_target=target,
            alpha_speed=speed,
            alpha_curve=AlphaCurve(curve),
        )

    def indices(self, blueprints: Sequence[str] = BUILT_IN_BLUEPRINTS) -> tuple[int, ...]:
        """Returns one index per head, in ``HEADS`` order.

        Args:
            blueprints: The choices of the blueprint head, see ``blueprint_choices``.

        Raises:
            LeylineError: If the action's blueprint is not among them.
        """
        if self.blueprint not in blueprints:
            raise LeylineError(
                f"blueprint '{self.blueprint}' is not a choice of the blueprint head; "
                f"choices: {', '.join(blueprints)}"
            )
        return tuple(
            blueprints.index(self.blueprint) if name == "blueprint" else int(getattr(self, name))
            for name in HEADS
        )

    def canonical(self) -> FactoredAction:
        """Returns this action with every head its op does not read at its canonical value."""
        blank = FactoredAction(op=self.op)
        kept = {name: getattr(self, name) for name in RELEVANT_HEADS[self.op]}
        return replace(blank, **kept)
