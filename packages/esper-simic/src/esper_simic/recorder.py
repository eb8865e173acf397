"""Turns the steps of a round into events and a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from esper_leyline import (
    HostPlacement,
    Op,
    RewardBreakdown,
    RoundSummary,
    SeedEventKind,
    StepReport,
    Telemetry,
)
from esper_leyline.events import (
    AnyPayload,
    CounterfactualMatrix,
    Decision,
    EpisodeOutcome,
    EpisodeStarted,
    EpochCompleted,
    RewardHackingSuspected,
    RoundCompleted,
    Throughput,
)
from esper_simic.rewards.measurement import finite
from esper_simic.rollout.actor import ActorStep
from esper_simic.rollout.stopwatch import Stopwatch


@dataclass(slots=True)
class _Episode:
    earned: float = 0.0
    components: dict[str, float] = field(default_factory=dict)
    seeds: Counter[SeedEventKind] = field(default_factory=Counter)
    best_accuracy: float | None = None
    last: StepReport | None = None


class RoundRecorder:
    """Records one round.

    The events of one environment in one step have this order: events of its seeds, the decision,
    flags of the reward, the epoch, counterfactuals, Shapley values, a profile, a rollback, the
    outcome of the episode.

    Args:
        telemetry: Where events go.
        round_number: Counted from 1.
        environments: Episodes of the round.
    """

    def __init__(self, telemetry: Telemetry, *, round_number: int, environments: int) -> None:
        self.watch = Stopwatch()
        self._telemetry = telemetry
        self._round = round_number
        self._episodes = [_Episode() for _ in range(environments)]
        self._ops: Counter[Op] = Counter()
        self._rollbacks: Counter[str] = Counter()

    def start(self, reports: Sequence[StepReport], placements: Sequence[HostPlacement]) -> None:
        """Records the fresh hosts of the round's episodes, and where each computes."""
        for report, placement in zip(reports, placements, strict=True):
            started = EpisodeStarted(
                rng_seed=report.rng_seed, device=placement.device, worker=placement.worker
            )
            self._emit(started, report)

    def step(
        self,
        index: int,
        previous: StepReport,
        decision: ActorStep,
        current: StepReport,
        reward: RewardBreakdown,
    ) -> None:
        """Records one step of the round's episode ``index``."""
        self._count(self._episodes[index], decision, current, reward)
        self.watch.add(current.seconds, prefix="host.")
        for event in current.events:
            self._emit(event, current)
        self._emit(self._decision(previous, decision, current, reward), current)
        for flag in reward.flags:
            self._emit(RewardHackingSuspected(flag=flag), current)
        self._emit(EpochCompleted(host=current.host), current)
        self._emit_optional(index, current)

    def finish(self) -> RoundSummary:
        """Closes the round: its summary, and how fast it went."""
        summary = self._summary()
        self._telemetry.emit(RoundCompleted(summary=summary), round=self._round)
        epochs = sum(self._ops.values())
        self._telemetry.emit(
            Throughput(
                host_epochs_per_second=epochs / max(summary.seconds, 1e-9),
                seconds=self.watch.parts,
            ),
            round=self._round,
        )
        return summary

    def _emit(self, payload: AnyPayload, report: StepReport) -> None:
        self._telemetry.emit(
            payload, round=self._round, epoch=report.epoch, environment=report.environment
        )

    def _count(
        self, episode: _Episode, decision: ActorStep, current: StepReport, reward: RewardBreakdown
    ) -> None:
        self._ops[decision.action.op] += 1
        if current.rollback is not None:
            self._rollbacks[current.rollback.cause.value] += 1
        episode.earned += reward.total
        for name, value in reward.components.items():
            episode.components[name] = episode.components.get(name, 0.0) + value
        episode.seeds.update(event.kind for event in current.events)
        accuracy = finite(current.val_accuracy)
        if accuracy is not None:
            episode.best_accuracy = max(accuracy, episode.best_accuracy or accuracy)
        episode.last = current

    def _decision(
        self,
        previous: StepReport,
        decision: ActorStep,
        current: StepReport,
        reward: RewardBreakdown,
    ) -> Decision:
        action = decision.action
        aimed = action.op is not Op.WAIT and action.slot < len(previous.seeds)
        return Decision(
            action=action,
            slot=previous.seeds[action.slot].slot if aimed else None,
            succeeded=current.action_succeeded is not False,
            forced=decision.forced,
            reason=decision.reason,
            rejection=current.rejection,
            heads=dict(decision.heads),
            value=decision.value,
            q_values=decision.q_values,
            reward=reward,
        )

    def _emit_optional(self, index: int, report: StepReport) -> None:
        if report.counterfactuals:
            self._emit(CounterfactualMatrix(configurations=report.counterfactuals), report)
        if report.shapley is not None:
            self._emit(report.shapley, report)
        if report.profile is not None:
            self._emit(report.profile, report)
        if report.rollback is not None:
            self._emit(report.rollback, report)
        if report.ended is not None:
            self._emit(self._outcome(self._episodes[index], report), report)

    def _outcome(self, episode: _Episode, report: StepReport) -> EpisodeOutcome:
        assert report.ended is not None
        return EpisodeOutcome(
            rng_seed=report.rng_seed,
            episode_return=episode.earned,
            reward_components=dict(episode.components),
            ended=report.ended,
            best_val_accuracy=episode.best_accuracy,
            germinated=episode.seeds[SeedEventKind.GERMINATED],
            fossilized=episode.seeds[SeedEventKind.FOSSILIZED],
            pruned=episode.seeds[SeedEventKind.PRUNED],
            host=report.host,
        )

    def _summary(self) -> RoundSummary:
        reports = [episode.last for episode in self._episodes if episode.last is not None]
        accuracies = [
            accuracy for report in reports if (accuracy := finite(report.val_accuracy)) is not None
        ]
        seeds = sum((episode.seeds for episode in self._episodes), Counter())
        return RoundSummary(
            round=self._round,
            episodes=len(self._episodes),
            mean_return=_mean([episode.earned for episode in self._episodes]) or 0.0,
            mean_accuracy=_mean(accuracies),
            best_accuracy=max(accuracies, default=None),
            ops={op.name: self._ops[op] for op in Op},
            germinated=seeds[SeedEventKind.GERMINATED],
            fossilized=seeds[SeedEventKind.FOSSILIZED],
            pruned=seeds[SeedEventKind.PRUNED],
            grown_parameters=_mean([float(report.fossil_parameters) for report in reports]) or 0.0,
            rollbacks=self._rollbacks.total(),
            rollback_causes=dict(self._rollbacks),
            seconds=self.watch.elapsed,
        )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
