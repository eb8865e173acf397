"""From scratch at the final size: hosts that start with the seeds that another arm grew.

A comparison with smaller networks does not show what growing adds. These arms train, host by
host, the network that another arm ended with: the same host and every seed in it, newly
initialised, all of it trained from the first epoch on. It trains for as many epochs as the
other arm's, or for as many FLOPs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from esper_kasmina import SequentialHost, build_host
from esper_leyline import HostOptions, HostSpec, TaskSpec, TrainingConfig
from esper_simic.evaluation import ArmResult, FlopCounter, GrownSeed
from esper_train.errors import TrainError
from esper_train.evaluation.arms import STATIC, Arm, CheckpointArm, ScratchArm


@dataclass(frozen=True, slots=True)
class GrownHosts:
    """Leyline's ``HostFactory`` of hosts that start with seeds built in.

    Attributes:
        seeds: Seeds to build in, by the host's random seed; other hosts start without any.
    """

    seeds: Mapping[int, tuple[GrownSeed, ...]]

    @classmethod
    def like(cls, arm: ArmResult) -> GrownHosts:
        """Takes the seeds that an arm's networks contained at the end."""
        return cls({episode.rng_seed: episode.seeds for episode in arm.episodes})

    def __call__(self, spec: HostSpec, options: HostOptions) -> SequentialHost:
        """Builds the host, and the seeds it starts with."""
        host = build_host(spec, options)
        for grown in self.seeds.get(options.rng_seed, ()):
            host.slot(grown.slot).build_in(grown.blueprint, grown.style)
        return host


def flop_counter(task: TaskSpec, config: TrainingConfig) -> FlopCounter:
    """Returns the counter of what a task's hosts and their seeds compute."""

    def build(seeds: Sequence[GrownSeed]) -> SequentialHost:
        options = HostOptions(slots=config.slots or task.slots)
        return GrownHosts({options.rng_seed: tuple(seeds)})(task.host, options)

    return FlopCounter(task, config, build)


def check_scratch(arms: Sequence[Arm]) -> None:
    """Checks that every arm from scratch has another arm's networks to start from.

    Raises:
        TrainError: If there is none, or it is not one that grows.
    """
    growing = _growing(arms)
    for arm in arms:
        if not isinstance(arm, ScratchArm):
            continue
        if arm.copies is None and not growing:
            raise TrainError(
                f"arm '{arm.name}' has no grown networks to start from; give an arm that grows "
                f"beside it, as in --arms {STATIC} heuristic {arm.name}"
            )
        if arm.copies is not None and not any(_is(each, arm.copies) for each in growing):
            allowed = ", ".join(each.name for each in growing) or "none is given"
            raise TrainError(
                f"arm '{arm.name}' starts from the networks of '{arm.copies}', which is none of "
                f"the arms that grow; allowed: {allowed}"
            )


def model_of(arm: ScratchArm, arms: Sequence[Arm], played: Sequence[ArmResult]) -> ArmResult:
    """Returns the arm whose networks another one starts from.

    If none is named, it is the only checkpoint, or else the arm with the best final mean
    accuracy on the validation split. The test split is not used for this choice.
    """
    growing = _growing(arms)
    checkpoints = [each for each in growing if isinstance(each, CheckpointArm)]
    if arm.copies is not None:
        growing = [each for each in growing if _is(each, arm.copies)]
    elif len(checkpoints) == 1:
        growing = [*checkpoints]
    labels = {each.label for each in growing}
    return max((each for each in played if each.label in labels), key=_validated)


def training_epochs(
    arm: ScratchArm, model: ArmResult, flops: FlopCounter, epochs: int
) -> dict[int, int]:
    """Returns how many epochs the networks of an arm from scratch train for, by seed.

    With a budget of FLOPs: floor(FLOPs of growing / FLOPs of an epoch from scratch), at least
    1. Growing counts training and validation with counterfactuals, an epoch from scratch
    training and one plain validation.

    Args:
        arm: The arm from scratch.
        model: The arm whose final networks are trained.
        flops: Counts the FLOPs of an epoch.
        epochs: The budget of epochs.
    """
    if arm.budget == "epochs":
        return dict.fromkeys((episode.rng_seed for episode in model.episodes), epochs)
    found = {}
    for episode in model.episodes:
        assert episode.total_flops is not None, "the app plays every arm with a counter"
        epoch = flops.whole_epoch(episode.seeds) + flops.whole_validation(episode.seeds)
        found[episode.rng_seed] = max(1, episode.total_flops // epoch)
    return found


def _growing(arms: Sequence[Arm]) -> list[Arm]:
    return [arm for arm in arms if not isinstance(arm, ScratchArm) and arm.name != STATIC]


def _is(arm: Arm, name: str) -> bool:
    return name in (arm.name, arm.label)


def _validated(arm: ArmResult) -> float:
    return fmean(episode.val_accuracy or 0.0 for episode in arm.episodes)
