"""Obs V3: converts reports to tensors, with the features and the order of Leyline's layout.

``None`` becomes the layout's sentinel. All encoded numbers are finite: a loss or gradient norm
that is NaN or infinite becomes ``CEILING``, any other infinity the end of its range, any other NaN
the sentinel, or 0 for features without one.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from esper_leyline import (
    BASE_FEATURES,
    SLOT_FEATURES,
    AlphaMode,
    BlendAlgorithm,
    EnvironmentSpec,
    Observation,
    Op,
    SeedReport,
    SeedStage,
    StepReport,
    observation_size,
)
from esper_leyline.actions import TEMPO_EPOCHS
from esper_leyline.lifecycle.stages import STAGE_ORDER
from esper_leyline.observation import (
    COUNTERFACTUAL_DECAY,
    HISTORY,
    POINTS_LIMIT,
    UNMEASURED,
    symlog,
)
from esper_tamiyo.errors import TamiyoError
from esper_tamiyo.masks import MaskBuilder

CEILING = 2.0
"""Largest encoded loss or gradient norm, also of NaN; above all usual ones."""

_SYMLOG_SCALE = 7.0
_POINTS_SCALE = symlog(POINTS_LIMIT)

Reading = tuple[float, ...]


class ObservationEncoder:
    """Encodes the reports of environments that share one spec.

    Attributes:
        blueprints: The choices of the blueprint head, by index.
        rows: The blueprints by row of the embedding; ``None`` is the row of an empty slot.
    """

    def __init__(self, spec: EnvironmentSpec) -> None:
        self._slots = spec.slots
        self.blueprints = spec.blueprint_choices
        self.rows = spec.blueprint_rows
        self._embedding_indices = {name: row for row, name in enumerate(self.rows)}
        self._size = observation_size(len(spec.slots))
        self._masks = MaskBuilder(spec)

    def encode(
        self, reports: Sequence[StepReport], device: torch.device | None = None
    ) -> Observation:
        """Encodes one report of each environment.

        Args:
            reports: N reports.
            device: Where the tensors go; ``None`` is the CPU.

        Returns:
            Features [N, F], blueprint indices [N, S] and masks.

        Raises:
            TamiyoError: If a report's slots are not the spec's, or one holds a seed of a blueprint
                that the spec does not name.
        """
        features: list[float] = []
        blueprints: list[int] = []
        for report in reports:
            self._check(report)
            for read_base in _BASE_READERS:
                features.extend(read_base(report))
            horizon = max(1, report.max_epochs)
            for seed in report.seeds:
                for read_slot in _SLOT_READERS:
                    features.extend(read_slot(seed, horizon))
                blueprints.append(self._embedding_index(report, seed))
        return Observation(
            features=_floats(features).view(-1, self._size).to(device),
            blueprints=torch.tensor(blueprints, device=device).view(-1, len(self._slots)),
            masks=self._masks.build(reports, device),
        )

    def _embedding_index(self, report: StepReport, seed: SeedReport) -> int:
        index = self._embedding_indices.get(seed.blueprint)
        if index is None:
            raise TamiyoError(
                f"environment {report.environment} reports blueprint '{seed.blueprint}' in slot "
                f"{seed.slot}; this encoder was built for {', '.join(self.blueprints[1:])}"
            )
        return index

    def _check(self, report: StepReport) -> None:
        slots = tuple(seed.slot for seed in report.seeds)
        if slots != self._slots:
            raise TamiyoError(
                f"environment {report.environment} reports the slots {', '.join(slots) or 'none'};"
                f" this encoder was built for {', '.join(self._slots)}"
            )


def _floats(values: list[float]) -> Tensor:
    # Six times as fast as torch.tensor of a list.
    return torch.frombuffer(array("f", values), dtype=torch.float32)


def _clamped(value: float, low: float, high: float) -> float:
    # Comparisons take half the time of min and max, and this is called for every number.
    if value < low:
        return low
    if value > high:
        return high
    return value


def _magnitude(value: float | None) -> float:
    """A loss or gradient norm: symlog(x) / 7, between 0 and ``CEILING``."""
    if value is None:
        return UNMEASURED
    if not math.isfinite(value):
        return CEILING
    return _clamped(symlog(value) / _SYMLOG_SCALE, 0.0, CEILING)


def _measured(value: float | None, scale: float) -> float:
    """A share x / scale, between 0 and 1."""
    if value is None or math.isnan(value):
        return UNMEASURED
    return _clamped(value / scale, 0.0, 1.0)


def _points(value: float | None) -> float:
    """Points of accuracy: symlog(x) / symlog(100), between -1 and 1."""
    if value is None or math.isnan(value):
        return UNMEASURED
    return _clamped(symlog(value) / _POINTS_SCALE, -1.0, 1.0)


def _known(value: float, low: float) -> float:
    """A number that every report has, between ``low`` and 1."""
    return 0.0 if math.isnan(value) else _clamped(value, low, 1.0)


def _flag(value: bool | None) -> float:
    return UNMEASURED if value is None else float(value)


def _epochs(count: int, horizon: int) -> float:
    return _clamped(count / horizon, 0.0, 1.0)


def _one_hot(width: int, index: int) -> Reading:
    return tuple(1.0 if position == index else 0.0 for position in range(width))


_STAGES: Mapping[SeedStage, Reading] = {
    stage: _one_hot(len(STAGE_ORDER), index) for index, stage in enumerate(STAGE_ORDER)
}
_LAST_OPS: Mapping[Op | None, Reading] = {
    None: _one_hot(len(Op), -1),
    **{op: _one_hot(len(Op), op) for op in Op},
}
_ALGORITHMS = {BlendAlgorithm.ADD: 1 / 3, BlendAlgorithm.MULTIPLY: 2 / 3, BlendAlgorithm.GATE: 1.0}
_MODES = {AlphaMode.UP: 1.0, AlphaMode.HOLD: 0.0, AlphaMode.DOWN: -1.0}


def _loss_history(report: StepReport) -> Reading:
    known = [_magnitude(loss) for loss, _ in report.history[-HISTORY:]]
    return (*[UNMEASURED] * (HISTORY - len(known)), *known)


def _accuracy_history(report: StepReport) -> Reading:
    known = [_measured(accuracy, 100.0) for _, accuracy in report.history[-HISTORY:]]
    return (*[UNMEASURED] * (HISTORY - len(known)), *known)


def _stage_share(report: StepReport, *stages: SeedStage) -> Reading:
    return (sum(seed.stage in stages for seed in report.seeds) / max(1, len(report.seeds)),)


def _last_op(report: StepReport) -> Reading:
    return _LAST_OPS[None if report.action is None else report.action.op]


def _freshness(age: int | None) -> float:
    return 0.0 if age is None else COUNTERFACTUAL_DECAY ** max(age, 0)


_BASE: Mapping[str, Callable[[StepReport], Reading]] = {
    "progress": lambda r: (_epochs(r.epoch, max(1, r.max_epochs)),),
    "val_loss": lambda r: (_magnitude(r.val_loss),),
    "val_accuracy": lambda r: (_measured(r.val_accuracy, 100.0),),
    "loss_history": _loss_history,
    "accuracy_history": _accuracy_history,
    "training_share": lambda r: _stage_share(r, SeedStage.TRAINING),
    "blending_share": lambda r: _stage_share(r, SeedStage.BLENDING),
    "holding_share": lambda r: _stage_share(r, SeedStage.HOLDING, SeedStage.FOSSILIZED),
    "last_action_succeeded": lambda r: (_flag(r.action_succeeded),),
    "last_op": _last_op,
}

_SLOT: Mapping[str, Callable[[SeedReport, int], Reading]] = {
    "occupied": lambda s, _: (float(s.occupied),),
    "stage": lambda s, _: _STAGES[s.stage],
    "alpha": lambda s, _: (_known(s.alpha, 0.0),),
    "contribution": lambda s, _: (_points(s.contribution),),
    "contribution_velocity": lambda s, _: (_points(s.contribution_velocity),),
    "tempo": lambda s, _: (0.0 if s.tempo is None else _epochs(s.tempo, TEMPO_EPOCHS[-1]),),
    "alpha_target": lambda s, _: (0.0 if s.alpha_target is None else _known(s.alpha_target, 0.0),),
    "alpha_mode": lambda s, _: (_MODES[s.alpha_mode],),
    "ramp_steps": lambda s, horizon: (_epochs(s.ramp_steps, horizon),),
    "ramp_done": lambda s, horizon: (_epochs(s.ramp_done, horizon),),
    "ramp_left": lambda s, horizon: (_epochs(s.ramp_steps - s.ramp_done, horizon),),
    "alpha_velocity": lambda s, _: (_known(s.alpha_velocity, -1.0),),
    "algorithm": lambda s, _: (0.0 if s.style is None else _ALGORITHMS[s.style.algorithm],),
    "interaction": lambda s, _: (_points(s.interaction_sum),),
    "gradient_norm": lambda s, _: (_magnitude(s.gradient_norm),),
    "gradient_health": lambda s, _: (_measured(s.gradient_health, 1.0),),
    "gradient_vanishing": lambda s, _: (_flag(s.gradient_vanishing),),
    "gradient_exploding": lambda s, _: (_flag(s.gradient_exploding),),
    "previous_gradient_health": lambda s, _: (_measured(s.previous_gradient_health, 1.0),),
    "epochs_in_stage": lambda s, horizon: (_epochs(s.epochs_in_stage, horizon),),
    "counterfactual_freshness": lambda s, _: (_freshness(s.counterfactual_age),),
    "seed_age": lambda s, horizon: (_epochs(s.age, horizon),),
}

# In the order of the layout. A feature of the layout without a reader fails here, at import.
_BASE_READERS = tuple(_BASE[feature.name] for feature in BASE_FEATURES)
_SLOT_READERS = tuple(_SLOT[feature.name] for feature in SLOT_FEATURES)
