"""The results of an evaluation, as ``evaluation.json`` stores them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from esper_leyline import BlendStyle, EpisodeEnd, SeedStage, TrainingConfig
from esper_leyline.actions import BlueprintName
from esper_leyline.estimates import Estimate
from esper_leyline.wire import Contract, Float
from esper_simic.evaluation.host_seeds import SeedRange
from esper_simic.evaluation.statistics.comparison import Comparison

RESULTS_VERSION: Literal[2] = 2

ActionSelection = Literal["sampled", "greedy"]
"""How a policy chooses its actions."""

Budget = Literal["epochs", "flops"]
"""The cost of the grown network that a network trained from scratch is given too."""


class GrownSeed(Contract):
    """A seed that a network contains."""

    slot: str
    blueprint: BlueprintName
    style: BlendStyle
    stage: SeedStage


class EpisodeResult(Contract):
    """One episode: a host trained under one arm.

    FLOPs are ``None`` where no counter was given.

    Attributes:
        newborn_accuracy: Test accuracy before the first epoch, in percent; equal in all arms.
        test_accuracy: Test accuracy at the end, in percent.
        val_accuracy: Validation accuracy at the end, which the arm could observe.
        parameters: Parameters of the network at the end, host and seeds.
        pruned_epoch_parameters: Sum over pruned seeds of parameters times epochs.
        forward_flops: FLOPs of the final network per row.
        train_flops: FLOPs of all training, pruned seeds included.
        validation_flops: FLOPs of all validation, counterfactuals included where the arm
            grows; the evaluation on the test split is not counted.
        total_flops: ``train_flops`` plus ``validation_flops``.
        seconds: Time spent on this host, decisions included.
        decision_seconds: Part of ``seconds`` that the controller took.
        seeds: Seeds in the network at the end, row-major.
    """

    rng_seed: int
    epochs: int
    ended: EpisodeEnd
    newborn_accuracy: Float
    test_accuracy: Float
    test_loss: Float
    val_accuracy: Float | None
    host_parameters: int
    parameters: int
    pruned_epoch_parameters: int
    forward_flops: int | None
    train_flops: int | None
    validation_flops: int | None
    total_flops: int | None
    seconds: Float
    decision_seconds: Float
    germinated: int
    fossilized: int
    pruned: int
    seeds: tuple[GrownSeed, ...] = ()


class Costs(Contract):
    """Means over all episodes of an arm; FLOPs are ``None`` where no counter was given."""

    parameters: Float
    forward_flops: Float | None
    train_flops: Float | None
    validation_flops: Float | None
    total_flops: Float | None
    seconds: Float


class TrainingBill(Contract):
    """The cost of training a checkpoint's policy, in all rounds up to the checkpoint.

    Attributes:
        episodes: Hosts that it was trained on.
        epochs: Epochs of all these hosts.
        least_flops: Lower bound of their FLOPs: training, and a validation after each epoch,
            of hosts without seeds. Seeds, counterfactuals and the policy are not counted.
    """

    rounds: int
    episodes: int
    epochs: int
    least_flops: int


class ArmResult(Contract):
    """One arm.

    Attributes:
        name: As given on the command line.
        label: A short name, unique among the arms.
        copied: Label of the arm whose final networks this arm trains from scratch.
        budget: Which cost of that arm it matches.
        trained_on: Task that a checkpoint's policy was trained on.
        bill: Cost of training that policy.
        accuracy: Mean of the test accuracies, in percent.
        accuracy_iqm: Interquartile mean of the test accuracies.
        wall_seconds: Time from the first host's start to the last one's end.
    """

    name: str
    label: str
    copied: str | None = None
    budget: Budget | None = None
    trained_on: str | None = None
    bill: TrainingBill | None = None
    accuracy: Estimate
    accuracy_iqm: Estimate
    costs: Costs
    wall_seconds: Float
    episodes: tuple[EpisodeResult, ...]


class EvaluationResults(Contract):
    """An evaluation.

    Attributes:
        config: Configuration of every arm's hosts.
        rng_seeds: Random seeds of the hosts, in the order of each arm's episodes; no run trains
            on them.
        seed_range: The range they come from; the ranges do not overlap.
        shared_data: Whether all hosts use the same rows of one data set.
        augmented: Whether training augments images, differently for each host.
        confidence: Coverage of the intervals.
        notes: Choices that were made for the user.
    """

    version: Literal[2] = RESULTS_VERSION
    task: str
    config: TrainingConfig
    rng_seeds: tuple[int, ...] = Field(min_length=2)
    seed_range: SeedRange
    shared_data: bool
    augmented: bool = False
    policy: ActionSelection
    baseline: str
    confidence: float
    arms: tuple[ArmResult, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()
    versions: dict[str, str]
