"""How hosts are built, trained, validated and kept stable."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from esper_leyline.lifecycle.gates import LifecycleRules
from esper_leyline.ranges import Batches, Epochs, LearningRate, Positive, Weight
from esper_leyline.wire import Settings

AmpDtype = Literal["bfloat16", "float16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """What a host is built with, in addition to its spec.

    Attributes:
        slots: The slots to enable, in any order.
        rules: What the lifecycle accepts.
        max_seeds: Most seeds at a time, fossilized ones included; ``None`` is one for each slot.
        rng_seed: Decides every weight of the host and of its seeds.
    """

    slots: tuple[str, ...]
    rules: LifecycleRules = field(default_factory=LifecycleRules)
    max_seeds: int | None = None
    rng_seed: int = 0


class Augmentation(Settings):
    """Random changes to training images, drawn for every host and epoch."""

    crop_padding: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Pixels by which training images are shifted at most; 0: none.",
    )
    flip: bool = Field(default=False, description="Mirror training images left to right at random.")

    @property
    def changes_nothing(self) -> bool:
        """Whether images stay as they are."""
        return self.crop_padding == 0 and not self.flip


class HostTraining(Settings):
    """How a host and its seeds are trained."""

    optimizer: Literal["sgd", "adamw"] = Field(
        default="sgd", description="Optimizer of hosts and seeds."
    )
    learning_rate: LearningRate = Field(default=0.05, description="Learning rate of the host.")
    seed_learning_rate: LearningRate = Field(default=0.05, description="Learning rate of seeds.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of SGD.")
    weight_decay: Weight = Field(default=0.0, description="Weight decay.")
    batch_size: int = Field(default=128, ge=1, le=1_000_000, description="Rows of a batch.")
    max_batches: Batches = Field(default=0, description="Most batches in an epoch; 0: all.")
    max_grad_norm: Positive = Field(
        default=5.0, description="Norm that the host's gradient is clipped to."
    )
    seed_max_grad_norm: Positive | None = Field(
        default=None, description="Norm that each seed's gradient is clipped to. None: the host's."
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Share of a target that is spread over all classes."
    )
    augmentation: Augmentation = Augmentation()

    def batches(self, rows: int) -> int:
        """Returns how many batches an epoch over so many training rows has."""
        whole = math.ceil(rows / self.batch_size)
        return min(whole, self.max_batches or whole)


class GovernorConfig(Settings):
    """When a host counts as unstable, and how far it is rolled back."""

    snapshot_every: Epochs = Field(default=5, description="Epochs between snapshots.")
    chance_margin: Positive = Field(
        default=0.065, description="Margin around the loss of guessing, as a share of ln(classes)."
    )
    divergence_loss: Positive = Field(
        default=12.0, description="Least limit of the validation loss for divergence."
    )
    divergence_sigmas: Positive = Field(
        default=6.0, description="The limit is at least the recent mean plus this many deviations."
    )
    divergence_factor: float = Field(
        default=3.0,
        gt=1,
        le=1e6,
        description="The limit is at least this multiple of the recent mean loss.",
    )
    divergence_patience: Epochs = Field(
        default=3, description="Epochs in a row above the limit before a rollback."
    )


class CounterfactualSet(Settings):
    """Which counterfactuals an epoch validates, in addition to each seed left out.

    What a reward mode or the telemetry level needs is measured in any case.
    """

    none: bool = Field(default=True, description="Validate the host without seeds.")
    solo: bool = Field(default=False, description="Validate each active seed alone.")
    pairs: bool = Field(
        default=True,
        description="Validate each two seeds alone, and what their interaction needs besides.",
    )
    committed: bool = Field(
        default=False, description="Validate the host with fossilized seeds only."
    )
    shapley: bool = Field(
        default=False, description="Measure Shapley values of the seeds in the last epoch."
    )
    shapley_pairs: int = Field(
        default=8,
        ge=1,
        le=1024,
        description="Beyond four seeds: sampled orders, each taken forwards and backwards.",
    )


class FeedConfig(Settings):
    """How batches reach the hosts; the same rows in the same order whichever way."""

    num_workers: int = Field(
        default=0, ge=0, le=256, description="Processes of a DataLoader; 0 on a CPU: no DataLoader."
    )
    gpu_preload: bool = Field(default=False, description="Keep the data set in the GPU's memory.")
    gpu_preload_gather: bool = Field(
        default=False,
        description="Gather batches there by index, without a DataLoader; the default on a CPU.",
    )
