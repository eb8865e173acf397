"""What an evaluation found, as it is written to ``evaluation.json``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from esper_leyline import (
    BlendStyle,
    Blueprint,
    Contract,
    EpisodeEnd,
    Float,
    SeedStage,
    TrainingConfig,
)
from esper_simic.evaluation import Estimate, SeedRange, Verdict

RESULTS_VERSION: Literal[2] = 2

Policy = Literal["sampled", "greedy"]
"""How a checkpoint's policy acts."""


Budget = Literal["epochs", "flops"]
"""What a network from scratch may spend as much of as the grown one did."""


class GrownSeed(Contract):
    """A seed that a network held at the end of an episode."""

    slot: str
    blueprint: Blueprint
    style: BlendStyle
    stage: SeedStage


class EpisodeResult(Contract):
    """One host's life under one arm.

    Attributes:
        newborn_accuracy: Of the host before its first epoch, on the test split, in percent;
            equal in all arms.
        test_accuracy: Of the network at the end, in percent.
        val_accuracy: What the arm itself could see of that.
        parameters: Of the network at the end: the host's own and every seed in it.
        pruned_epoch_parameters: Sum over pruned seeds of parameters times epochs lived.
        forward_flops: Operations a row of the network at the end.
        train_flops: Operations of all training, pruned seeds included.
        validation_flops: Operations of all validation, counterfactuals included where the
            arm grows; judging on the test split is not counted.
        total_flops: Both together.
        seconds: Spent on this host, decisions included.
        decision_seconds: The part of them in which the arm decided.
        seeds: What the network held at the end, row-major.
    """

    seed: int
    epochs: int
    ended: EpisodeEnd
    newborn_accuracy: Float
    test_accuracy: Float
    test_loss: Float
    val_accuracy: Float | None
    host_parameters: int
    parameters: int
    pruned_epoch_parameters: int
    forward_flops: int
    train_flops: int
    validation_flops: int
    total_flops: int
    seconds: Float
    decision_seconds: Float
    germinated: int
    fossilized: int
    pruned: int
    seeds: tuple[GrownSeed, ...] = ()


class Interval(Contract):
    """A figure with its interval."""

    value: Float
    low: Float
    high: Float

    @classmethod
    def of(cls, estimate: Estimate) -> Interval:
        """Takes over an estimate of ``esper_simic.evaluation``."""
        return cls(value=estimate.value, low=estimate.low, high=estimate.high)


class Costs(Contract):
    """Means over an arm's episodes, every one counted."""

    parameters: Float
    forward_flops: Float
    train_flops: Float
    validation_flops: Float
    total_flops: Float
    seconds: Float


class TrainingBill(Contract):
    """What the training of a checkpoint's policy took, in all rounds up to the checkpoint.

    Attributes:
        episodes: Hosts that it was trained on.
        epochs: Epochs that they trained for together.
        least_flops: What they computed at least: training, and a validation after each epoch,
            of hosts without seeds. Seeds, counterfactuals and the policy itself come on top.
    """

    rounds: int
    episodes: int
    epochs: int
    least_flops: int


class ArmResult(Contract):
    """One arm.

    Attributes:
        name: As it was asked for.
        label: A short name, different in every arm.
        copied: Label of the arm whose final networks this one's hosts were born as.
        budget: What of its training they were then given as much of.
        trained_on: The task that a checkpoint's policy learnt on.
        bill: What the training of a checkpoint's policy took.
        accuracy: Mean of the test accuracies, in percent.
        accuracy_iqm: Interquartile mean of the same.
        wall_seconds: From the first host's birth to the last one's end.
    """

    name: str
    label: str
    copied: str | None = None
    budget: Budget | None = None
    trained_on: str | None = None
    bill: TrainingBill | None = None
    accuracy: Interval
    accuracy_iqm: Interval
    costs: Costs
    wall_seconds: Float
    episodes: tuple[EpisodeResult, ...]


class ArmComparison(Contract):
    """One arm against the baseline, seed by seed.

    Attributes:
        arm: Label of the arm that is judged.
        difference: Mean of the paired differences of test accuracy, in points; it decides.
        iqm_difference: Interquartile mean of the same, which leaves out the quarter of hosts
            with the largest differences and that with the smallest.
        win_rate: Share of hosts that end above the baseline's of the same seed, ties half.
        least_pairs: Pairs below which the verdict stays undecided.
    """

    arm: str
    baseline: str
    pairs: int
    least_pairs: int
    difference: Interval
    iqm_difference: Interval
    win_rate: Interval
    verdict: Verdict


class EvaluationResults(Contract):
    """An evaluation.

    Attributes:
        config: What every arm's hosts were built from and trained by.
        seeds: The hosts' seeds, in the order of each arm's episodes; no run trains on them.
        seed_range: What the seeds are for; the ranges share none.
        shared_data: Whether all hosts use the same rows of one data set.
        augmented: Whether training changes images at random, differently for each host.
        confidence: What the intervals cover.
        notes: What to know of how it was done.
    """

    version: Literal[2] = RESULTS_VERSION
    task: str
    config: TrainingConfig
    seeds: tuple[int, ...] = Field(min_length=2)
    seed_range: SeedRange
    shared_data: bool
    augmented: bool = False
    policy: Policy
    baseline: str
    confidence: float
    arms: tuple[ArmResult, ...]
    comparisons: tuple[ArmComparison, ...]
    notes: tuple[str, ...] = ()
    versions: dict[str, str]
