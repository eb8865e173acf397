"""Obs V3: the layout of a policy's observation, as data.

Tamiyo's encoder fills it; tests compare every feature with its row here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from esper_leyline.actions import Op
from esper_leyline.lifecycle.stages import STAGE_ORDER

HISTORY = 5
"""Epochs of loss and accuracy that the observation looks back."""

UNMEASURED = -2.0
"""What a feature holds before its cause was measured; outside every feature's range."""

COUNTERFACTUAL_DECAY = 0.9
"""Freshness of a counterfactual falls by this factor an epoch; 0 if there is none."""

BLUEPRINT_EMBEDDING = 4
"""Width of the learned embedding of a slot's blueprint."""


POINTS_LIMIT = 100.0
"""Points of accuracy at which a feature reaches the end of its range; no single measurement of
a contribution lies beyond it."""

FeatureKind = Literal["one_hot", "flag", "choice", "share", "measure"]


def symlog(value: float) -> float:
    """sign(x) · ln(1 + |x|): compresses large values and keeps the sign."""
    return math.copysign(math.log1p(abs(value)), value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One run of equally normalised numbers in the observation.

    Attributes:
        name: What the numbers are.
        kind: ``"one_hot"``, ``"flag"`` and ``"choice"`` (one of a few numbers) are exact at the
            ends of their range, as is a ``"share"`` of a whole. A ``"measure"`` has no bound of
            its own: values beyond ``low`` or ``high`` are clipped to them.
        offset: Index of the first, within the base or within a slot's block.
        width: How many there are.
        normalization: The formula that takes the raw value into ``low`` to ``high``.
        low: Smallest ordinary value.
        high: Largest ordinary value.
        sentinel: The value if it was not measured; ``None`` if it always is.
    """

    name: str
    kind: FeatureKind
    offset: int
    width: int
    normalization: str
    low: float
    high: float
    sentinel: float | None = None


def _layout(
    *rows: tuple[str, FeatureKind, int, str, float, float, float | None],
) -> tuple[Feature, ...]:
    features, offset = [], 0
    for name, kind, width, normalization, low, high, sentinel in rows:
        features.append(
            Feature(
                name=name,
                kind=kind,
                offset=offset,
                width=width,
                normalization=normalization,
                low=low,
                high=high,
                sentinel=sentinel,
            )
        )
        offset += width
    return tuple(features)


BASE_FEATURES = _layout(
    ("progress", "share", 1, "epoch / max_epochs", 0.0, 1.0, None),
    ("val_loss", "measure", 1, "symlog(x) / 7", 0.0, 1.0, UNMEASURED),
    ("val_accuracy", "share", 1, "x / 100", 0.0, 1.0, UNMEASURED),
    ("loss_history", "measure", HISTORY, "symlog(x) / 7, oldest first", 0.0, 1.0, UNMEASURED),
    ("accuracy_history", "share", HISTORY, "x / 100, oldest first", 0.0, 1.0, UNMEASURED),
    ("training_share", "share", 1, "slots in TRAINING / slots", 0.0, 1.0, None),
    ("blending_share", "share", 1, "slots in BLENDING / slots", 0.0, 1.0, None),
    ("holding_share", "share", 1, "slots in HOLDING or FOSSILIZED / slots", 0.0, 1.0, None),
    ("last_action_succeeded", "flag", 1, "1 or 0", 0.0, 1.0, UNMEASURED),
    ("last_op", "one_hot", len(Op), "one-hot, all 0 before the first action", 0.0, 1.0, None),
)
"""The host's part of the observation."""

SLOT_FEATURES = _layout(
    ("occupied", "flag", 1, "1 or 0", 0.0, 1.0, None),
    ("stage", "one_hot", len(STAGE_ORDER), "one-hot", 0.0, 1.0, None),
    ("alpha", "share", 1, "x", 0.0, 1.0, None),
    ("contribution", "measure", 1, "symlog(x) / symlog(100)", -1.0, 1.0, UNMEASURED),
    ("contribution_velocity", "measure", 1, "symlog(x) / symlog(100)", -1.0, 1.0, UNMEASURED),
    ("tempo", "choice", 1, "epochs / 8, 0 without a seed", 0.0, 1.0, None),
    ("alpha_target", "choice", 1, "x, 0 before blending", 0.0, 1.0, None),
    ("alpha_mode", "choice", 1, "up 1, hold 0, down -1", -1.0, 1.0, None),
    ("ramp_steps", "share", 1, "steps / max_epochs", 0.0, 1.0, None),
    ("ramp_done", "share", 1, "steps / max_epochs", 0.0, 1.0, None),
    ("ramp_left", "share", 1, "steps / max_epochs", 0.0, 1.0, None),
    ("alpha_velocity", "share", 1, "change of alpha over the last tick", -1.0, 1.0, None),
    ("algorithm", "choice", 1, "none 0, add 1/3, multiply 2/3, gate 1", 0.0, 1.0, None),
    ("interaction", "measure", 1, "symlog(sum) / symlog(100)", -1.0, 1.0, UNMEASURED),
    ("gradient_norm", "measure", 1, "symlog(x) / 7", 0.0, 1.0, UNMEASURED),
    ("gradient_health", "share", 1, "share of healthy parameter tensors", 0.0, 1.0, UNMEASURED),
    ("gradient_vanishing", "flag", 1, "1 or 0", 0.0, 1.0, UNMEASURED),
    ("gradient_exploding", "flag", 1, "1 or 0", 0.0, 1.0, UNMEASURED),
    (
        "previous_gradient_health",
        "share",
        1,
        "share of healthy parameter tensors",
        0.0,
        1.0,
        UNMEASURED,
    ),
    ("epochs_in_stage", "share", 1, "epochs / max_epochs", 0.0, 1.0, None),
    ("counterfactual_freshness", "share", 1, "0.9 ^ age in epochs, 0 if none", 0.0, 1.0, None),
    ("seed_age", "share", 1, "epochs / max_epochs", 0.0, 1.0, None),
)
"""One slot's part of the observation."""

BASE_SIZE = sum(feature.width for feature in BASE_FEATURES)
SLOT_SIZE = sum(feature.width for feature in SLOT_FEATURES)


def observation_size(slots: int) -> int:
    """Returns the floats of an observation before blueprint embeddings: 116 for 3 slots."""
    return BASE_SIZE + SLOT_SIZE * slots


def policy_input_size(slots: int) -> int:
    """Returns the floats a policy reads, blueprint embeddings included: 128 for 3 slots."""
    return observation_size(slots) + BLUEPRINT_EMBEDDING * slots
