"""A controller by rules: grow on a plateau, keep what helps, remove what does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from esper_leyline import (
    LIVE_STAGES,
    AlphaMode,
    EnvironmentSpec,
    FactoredAction,
    Op,
    SeedReport,
    SeedStage,
    StepReport,
)
from esper_leyline.actions import FULL_ALPHA_TARGET, TEMPO_EPOCHS
from esper_leyline.health import LARGEST_STABLE_FALL, SMALLEST_STABLE_FALL, is_loss_stable
from esper_leyline.masks import valid_slots


@dataclass(frozen=True, slots=True, kw_only=True)
class HeuristicConfig:
    """The constants of the rules.

    In short episodes the window is shorter: it has ``window`` epochs, but at most ``window_share``
    of the episode, and at least one epoch. If nothing has grown for ``deadline_share`` of the
    episode, a seed germinates even if the loss is not stable or the accuracy still rises.

    Attributes:
        window: Epochs that a host must look stable, and flat, before it grows.
        window_share: Largest share of the episode that the window takes.
        deadline_share: Share of the episode without growth after which growth is due.
        stable_low: Smallest relative fall of the loss in one epoch of a stable host.
        stable_high: Largest.
        plateau_points: An epoch that gains less accuracy than this, in points, is flat.
        max_live: Largest number of live seeds; one, so that its effect can be measured.
        tempo_share: Largest share of the episode that a first blend takes.
        prune_points: Points of accuracy that the host may lose in a stage, unless the seed's
            contribution is measured to be positive enough.
        prune_epochs: Epochs of a stage before such a seed is pruned.
        fossilize_points: Contribution in points that a seed must exceed to be fossilized.
        hold_patience: Epochs in HOLDING after which a seed that was not measured, or not
            permitted to fossilize, is pruned.
        failure_penalty: Places in the rotation by which a blueprint moves back after a failure.
        penalty_decay: Factor of a penalty after each epoch.
    """

    window: int = 3
    window_share: float = 0.1
    deadline_share: float = 0.25
    stable_low: float = SMALLEST_STABLE_FALL
    stable_high: float = LARGEST_STABLE_FALL
    plateau_points: float = 0.5
    max_live: int = 1
    tempo_share: float = 0.15
    prune_points: float = 2.0
    prune_epochs: int = 5
    fossilize_points: float = 0.5
    hold_patience: int = 5
    failure_penalty: float = 3.0
    penalty_decay: float = 0.9


class HeuristicController:
    """Decides by the rules of ``HeuristicConfig``, for any topology.

    Every epoch it takes the first of these actions that is due: fossilize a seed in HOLDING whose
    contribution is large enough, prune one whose contribution is not, advance one through its
    gate, raise the alpha of one that is too low for its gate, germinate, wait. It uses reports
    only, and no random numbers.
    """

    def __init__(self, spec: EnvironmentSpec, config: HeuristicConfig | None = None) -> None:
        self._spec = spec
        self._config = config or HeuristicConfig()
        share = int(spec.max_epochs * self._config.window_share)
        self._window = max(1, min(self._config.window, share))
        self._deadline = max(self._window, math.ceil(spec.max_epochs * self._config.deadline_share))
        self._tempo = self._choose_tempo()
        self.reset(0)

    @property
    def reason(self) -> str:
        """Why the last action was chosen."""
        return self._reason

    def reset(self, rng_seed: int) -> None:  # noqa: ARG002
        """Starts an episode."""
        self._settled = False
        self._grown_until = 0
        self._next = 0
        self._reason = "nothing has been decided yet"
        self._penalties = dict.fromkeys(self._spec.blueprints, 0.0)

    def decide(self, report: StepReport) -> FactoredAction:
        """Returns the action that is due."""
        self._observe(report)
        for op, due in self._rules():
            for slot in valid_slots(report).get(op, ()):
                seed = report.seeds[slot]
                reason = due(seed)
                if reason is not None:
                    self._reason = reason
                    return self._act(op, slot, seed)
        grows, self._reason = self._growth(report)
        return self._germinate(report) if grows else FactoredAction()

    def _rules(self) -> tuple[tuple[Op, Callable[[SeedReport], str | None]], ...]:
        """Returns the ops in order, each with a function that says why it is due for a seed."""
        return (
            (Op.FOSSILIZE, self._why_keep),
            (Op.PRUNE, self._why_remove),
            (Op.ADVANCE, _why_advance),
            (Op.SET_ALPHA_TARGET, _why_raise),
        )

    def _observe(self, report: StepReport) -> None:
        decay = self._config.penalty_decay
        self._penalties = {name: value * decay for name, value in self._penalties.items()}
        if any(seed.stage in LIVE_STAGES for seed in report.seeds):
            self._grown_until = report.epoch
        self._settled = self._settled or is_loss_stable(
            [loss for loss, _ in report.history],
            self._window,
            smallest=self._config.stable_low,
            largest=self._config.stable_high,
        )

    def _why_keep(self, seed: SeedReport) -> str | None:
        """Returns why a seed is fossilized: its contribution in HOLDING is large enough."""
        if not (_measured_in_stage(seed) and self._adds(seed)):
            return None
        return f"{self._contribution(seed)}, more than {self._config.fossilize_points:g}"

    def _why_remove(self, seed: SeedReport) -> str | None:
        """Returns why a seed is pruned."""
        config = self._config
        if seed.stage is SeedStage.HOLDING:
            if _measured_in_stage(seed) and not self._adds(seed):
                return f"{self._contribution(seed)}, no more than {config.fossilize_points:g}"
            if seed.epochs_in_stage >= config.hold_patience:
                return (
                    f"the seed has held for {seed.epochs_in_stage} epochs without being measured "
                    "or permitted to stay"
                )
            return None
        loses = seed.stage_improvement is not None and seed.stage_improvement < -config.prune_points
        # The accuracy may fall by chance after a stage that began at a high one. The contribution
        # is measured against the host without the seed.
        if not loses or seed.epochs_in_stage < config.prune_epochs or self._adds(seed):
            return None
        assert seed.stage_improvement is not None
        return (
            f"the host lost {-seed.stage_improvement:.1f} points in the {seed.epochs_in_stage} "
            f"epochs of this stage, and {self._contribution(seed)}"
        )

    def _adds(self, seed: SeedReport) -> bool:
        """Whether a seed's contribution was measured, and is enough."""
        return (seed.contribution or 0.0) > self._config.fossilize_points

    def _contribution(self, seed: SeedReport) -> str:
        if seed.contribution is None:
            return "what the seed adds was not measured"
        return f"the seed adds {seed.contribution:.1f} points"

    def _growth(self, report: StepReport) -> tuple[bool, str]:
        """Returns whether a seed is to germinate now, and why or why not."""
        live = sum(seed.stage in LIVE_STAGES for seed in report.seeds)
        left = report.max_epochs - report.epoch
        if live >= self._config.max_live:
            return False, f"{live} of {self._config.max_live} seeds are growing already"
        if Op.GERMINATE not in valid_slots(report):
            return False, "no slot can take a seed now"
        if left < self._shortest_life():
            return False, f"a seed takes {self._shortest_life()} epochs, and {left} are left"
        return self._growth_of_settled(report)

    def _growth_of_settled(self, report: StepReport) -> tuple[bool, str]:
        """Returns whether a host with room for a seed has settled and is flat."""
        idle, window = report.epoch - self._grown_until, self._window
        if idle >= self._deadline:
            return True, f"nothing has grown for {idle} epochs"
        if not self._settled:
            return False, "the loss has not been stable yet"
        if idle < window:
            return False, f"a seed was growing less than {window} epochs ago"
        if not self._is_flat(report):
            return False, "accuracy still rises"
        points = self._config.plateau_points
        return True, f"no epoch of the last {window} gained {points:g} points of accuracy"

    def _is_flat(self, report: StepReport) -> bool:
        accuracies = [accuracy for _, accuracy in report.history]
        gains = [new - old for old, new in pairwise(accuracies[-self._window - 1 :])]
        return len(gains) == self._window and max(gains) < self._config.plateau_points

    def _shortest_life(self) -> int:
        """Returns the fewest steps from germination to fossil: four commands and the blend."""
        return TEMPO_EPOCHS[self._tempo] + 4

    def _act(self, op: Op, slot: int, seed: SeedReport) -> FactoredAction:
        if op is Op.PRUNE and seed.blueprint in self._penalties:
            self._penalties[seed.blueprint] += self._config.failure_penalty
        if op is Op.SET_ALPHA_TARGET:
            assert seed.style is not None
            return FactoredAction(
                op=op, slot=slot, style=seed.style, alpha_target=FULL_ALPHA_TARGET
            )
        return FactoredAction(op=op, slot=slot)

    def _germinate(self, report: StepReport) -> FactoredAction:
        return FactoredAction(
            op=Op.GERMINATE,
            slot=valid_slots(report)[Op.GERMINATE][0],
            blueprint=self._choose_blueprint(),
            style=self._spec.styles[0],
            tempo=self._tempo,
            alpha_target=FULL_ALPHA_TARGET,
        )

    def _choose_blueprint(self) -> str:
        """Returns the next blueprint in the rotation; recent failures move a blueprint back."""
        blueprints = self._spec.blueprints
        count = len(blueprints)
        chosen = min(
            range(count),
            key=lambda i: (i - self._next) % count + self._penalties[blueprints[i]],
        )
        self._next = (chosen + 1) % count
        return blueprints[chosen]

    def _choose_tempo(self) -> int:
        limit = self._spec.max_epochs * self._config.tempo_share
        fitting = [index for index, epochs in enumerate(TEMPO_EPOCHS) if epochs <= limit]
        return fitting[-1] if fitting else 0


def _measured_in_stage(seed: SeedReport) -> bool:
    return (
        seed.contribution is not None
        and seed.counterfactual_age is not None
        and seed.counterfactual_age < seed.epochs_in_stage
    )


def _why_advance(seed: SeedReport) -> str | None:
    """Returns why a seed is advanced."""
    return f"the gate after {seed.stage.name} lets the seed move on"


def _why_raise(seed: SeedReport) -> str | None:
    """Returns why alpha is raised if the blend ended below 1, which the gate requires."""
    weak = (
        seed.stage is SeedStage.BLENDING and seed.alpha_mode is AlphaMode.HOLD and seed.alpha < 1.0
    )
    return f"the blend ended at alpha {seed.alpha:.2f}, and its gate needs 1" if weak else None
