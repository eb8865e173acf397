"""Episodes with the real lifecycle and given measurements; nothing is trained.

Actions are applied by ``esper_leyline.advance``, as a host does. The results of validation are
given by the test, so that a reward can be tested on any episode that the lifecycle allows.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from esper_leyline import (
    Blueprint,
    CounterfactualConfig,
    EpisodeEnd,
    FactoredAction,
    LifecycleRules,
    Op,
    SeedReport,
    SeedStage,
    StepReport,
    Tick,
)
from esper_leyline.commands import to_command

from .simulated_hosts import _apply, _describe, _Seed

SLOTS = ("r0c0", "r0c1", "r0c2")
HAND_OVER = LifecycleRules(auto_forward_g1=True, auto_forward_g2=True, auto_forward_g3=True)
"""Gates G1 to G3 open automatically, as in the preset mnist1d."""

WAIT = FactoredAction()
BLENDED = (SeedStage.BLENDING, SeedStage.HOLDING, SeedStage.FOSSILIZED)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Results of the validation of one epoch.

    Attributes:
        accuracy: Of the whole network, in percent.
        contributions: Points by slot; only blended seeds get theirs.
        none: Accuracy without any seed, ``None`` if it was not measured.
    """

    accuracy: float | None = 50.0
    loss: float | None = 1.0
    contributions: Mapping[str, float] = field(default_factory=dict)
    none: float | None = None


class SimulatedEpisode:
    """One host's episode, with all its reports."""

    def __init__(
        self,
        *,
        rules: LifecycleRules = HAND_OVER,
        max_epochs: int = 18,
        environment: int = 0,
        host_seed: int = 1,
        host_parameters: int = 794,
    ) -> None:
        self.rules = rules
        self.actions: list[FactoredAction] = []
        self.on_trial: list[bool] = []
        """Of each step: whether a seed took part in its validation that is not fossilized."""
        self._seeds = [_Seed() for _ in SLOTS]
        fresh = StepReport(
            environment=environment,
            rng_seed=host_seed,
            epoch=0,
            max_epochs=max_epochs,
            seeds=self._slots(),
            host_parameters=host_parameters,
        )
        self.reports: list[StepReport] = [fresh]

    @property
    def now(self) -> StepReport:
        return self.reports[-1]

    def stage(self, slot: int = 0) -> SeedStage:
        return self.now.seeds[slot].stage

    def step(
        self,
        action: FactoredAction = WAIT,
        measured: Measured | None = None,
        *,
        ended: EpisodeEnd | None = None,
    ) -> StepReport:
        """Applies an action; returns the report with these measurements."""
        measured = Measured() if measured is None else measured
        command, accepted = to_command(action, SLOTS), True
        if command is not None:
            accepted = self._apply(action.slot, command.command)
        for slot, seed in zip(SLOTS, self._seeds, strict=True):
            takes_part = seed.state.stage in BLENDED and seed.state.alpha > 0
            seed.contribution = measured.contributions.get(slot) if takes_part else None
        self.on_trial.append(any(_on_trial(seed) for seed in self._seeds))
        for index in range(len(SLOTS)):
            self._apply(index, Tick())
        self.actions.append(action)
        self.reports.append(self._report(action, accepted, measured, ended))
        return self.now

    def copy(self) -> SimulatedEpisode:
        """Returns an independent copy."""
        twin = SimulatedEpisode(rules=self.rules)
        twin.actions, twin.reports = list(self.actions), list(self.reports)
        twin.on_trial = list(self.on_trial)
        twin._seeds = [replace(seed) for seed in self._seeds]
        return twin

    def _apply(self, index: int, what) -> bool:
        return _apply(self._seeds[index], what, SLOTS[index], [], self.rules)

    def _slots(self) -> tuple[SeedReport, ...]:
        return tuple(
            _describe(slot, seed, self.rules) for slot, seed in zip(SLOTS, self._seeds, strict=True)
        )

    def _report(self, action, accepted, measured, ended) -> StepReport:
        seeds, epoch = self._slots(), self.now.epoch + 1
        fossil = sum(seed.parameters for seed in seeds if seed.stage is SeedStage.FOSSILIZED)
        horizon = EpisodeEnd.HORIZON if epoch >= self.now.max_epochs else None
        none = () if measured.none is None else (active_none(measured.none),)
        return replace(
            self.now,
            epoch=epoch,
            seeds=seeds,
            fossil_parameters=fossil,
            live_parameters=sum(seed.parameters for seed in seeds) - fossil,
            val_loss=measured.loss,
            val_accuracy=measured.accuracy,
            action=action,
            action_succeeded=accepted,
            counterfactuals=none,
            ended=horizon if ended is None else ended,
        )


def _on_trial(seed: _Seed) -> bool:
    state = seed.state
    return state.stage in (SeedStage.BLENDING, SeedStage.HOLDING) and state.alpha > 0


def active_none(accuracy: float) -> CounterfactualConfig:
    return CounterfactualConfig(active=(), accuracy=accuracy)


def germinate(slot: int = 0, blueprint: Blueprint = Blueprint.CONV_LIGHT) -> FactoredAction:
    return FactoredAction(op=Op.GERMINATE, slot=slot, blueprint=blueprint, alpha_target=2)


def at(op: Op, slot: int = 0, **heads) -> FactoredAction:
    return FactoredAction(op=op, slot=slot, **heads)


def permitted(report: StepReport, *, without: Sequence[Op] = ()) -> list[FactoredAction]:
    """Lists the actions that the lifecycle accepts, WAIT first, with default arguments."""
    actions = [WAIT]
    for index, seed in enumerate(report.seeds):
        actions += [
            germinate(index) if op is Op.GERMINATE else at(op, index)
            for op in seed.permitted
            if op not in without
        ]
    return actions


def play_at_random(
    episode: SimulatedEpisode, chance: random.Random, measure, *, without: Sequence[Op] = ()
) -> SimulatedEpisode:
    """Plays random actions to the end; ``measure`` returns the results of each validation."""
    while episode.now.ended is None:
        episode.step(chance.choice(permitted(episode.now, without=without)), measure())
    return episode
