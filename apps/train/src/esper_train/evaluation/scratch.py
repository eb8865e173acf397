"""From scratch at the final size: hosts born with the seeds that another arm grew.

A comparison with smaller networks does not show what growing adds. So these arms train,
seed for seed, the very network that another arm ended with: the same host, newly
initialised, every seed that was in it built in and newly initialised too, all of it trained
from the first epoch to the last. That last one is where the other arm's was, or where as
much has been computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from esper_kasmina import PathHost, build_host
from esper_leyline import HostSpec, LifecycleRules
from esper_train.errors import TrainError
from esper_train.evaluation.arms import STATIC, Arm, CheckpointArm, ScratchArm
from esper_train.evaluation.flops import FlopCounter
from esper_train.evaluation.results import ArmResult, GrownSeed


@dataclass(frozen=True, slots=True)
class GrownHosts:
    """Leyline's ``HostFactory`` of hosts that are born with seeds built in.

    Attributes:
        seeds: What each host is born with, by the host's own seed; others are born bare.
    """

    seeds: Mapping[int, tuple[GrownSeed, ...]]

    @classmethod
    def like(cls, arm: ArmResult) -> GrownHosts:
        """Takes what an arm's networks held at their end."""
        return cls({episode.seed: episode.seeds for episode in arm.episodes})

    def __call__(
        self,
        spec: HostSpec,
        *,
        slots: Sequence[str],
        rules: LifecycleRules,
        max_seeds: int | None,
        seed: int,
    ) -> PathHost:
        """Builds the host that follows from ``seed``, and the seeds it is born with."""
        host = build_host(spec, slots=slots, rules=rules, max_seeds=max_seeds, seed=seed)
        for grown in self.seeds.get(seed, ()):
            host.slot(grown.slot).build_in(grown.blueprint, grown.style)
        return host


def check_scratch(arms: Sequence[Arm]) -> None:
    """Makes sure that every arm from scratch has another one's networks to start from.

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

    Where none is named it is the one checkpoint there is, or else the arm that ended with
    the best mean accuracy on the validation split: the test split chooses nothing.
    """
    growing = _growing(arms)
    checkpoints = [each for each in growing if isinstance(each, CheckpointArm)]
    if arm.copies is not None:
        growing = [each for each in growing if _is(each, arm.copies)]
    elif len(checkpoints) == 1:
        growing = [*checkpoints]
    labels = {each.label for each in growing}
    return max((each for each in played if each.label in labels), key=_validated)


def lifetimes(arm: ScratchArm, model: ArmResult, flops: FlopCounter, epochs: int) -> dict[int, int]:
    """Returns how many epochs the networks of an arm from scratch train for, by seed.

    With a budget of FLOPs that is as many as the grown network's training and validation
    with counterfactuals pay for, each with one plain validation. Whole ones, but one at
    least: a seed that was born last may cost more than the host trained for.

    Args:
        arm: From scratch.
        model: The arm whose final networks are trained.
        flops: Counts what an epoch of them takes.
        epochs: What the budget of epochs is.
    """
    if arm.budget == "epochs":
        return dict.fromkeys((episode.seed for episode in model.episodes), epochs)
    return {
        episode.seed: max(
            1,
            episode.total_flops
            // (flops.whole_epoch(episode.seeds) + flops.whole_validation(episode.seeds)),
        )
        for episode in model.episodes
    }


def _growing(arms: Sequence[Arm]) -> list[Arm]:
    return [arm for arm in arms if not isinstance(arm, ScratchArm) and arm.name != STATIC]


def _is(arm: Arm, name: str) -> bool:
    return name in (arm.name, arm.label)


def _validated(arm: ArmResult) -> float:
    return fmean(episode.val_accuracy or 0.0 for episode in arm.episodes)
