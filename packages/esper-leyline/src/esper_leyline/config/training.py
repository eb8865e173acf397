"""The configuration of a run: one strict model, with one nested part for each component."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from esper_leyline.actions import HEADS, BlueprintName
from esper_leyline.config.host import (
    AmpDtype,
    CounterfactualSet,
    FeedConfig,
    GovernorConfig,
    HostTraining,
)
from esper_leyline.config.policy import PolicyConfig
from esper_leyline.config.ppo import PPOConfig
from esper_leyline.config.reward import RewardConfig
from esper_leyline.lifecycle.gates import LifecycleRules
from esper_leyline.profiles import ProfileName
from esper_leyline.ranges import (
    MOST_BLUEPRINTS,
    MOST_DEVICES,
    MOST_SLOTS,
    Environments,
    Epochs,
    FolderPath,
    Name,
    Rounds,
)
from esper_leyline.slots import SlotId, order_slots
from esper_leyline.wire import Settings

TelemetryLevel = Literal["off", "minimal", "normal", "debug"]

CompileMode = Literal["default", "max-autotune", "reduce-overhead", "off"]


class TelemetryConfig(Settings):
    """How much a run writes to its log."""

    level: TelemetryLevel = Field(default="normal", description="Amount of telemetry in the log.")
    lifecycle_only: bool = Field(
        default=False, description="Keep lifecycle events of run and seeds at any level."
    )
    profile: ProfileName = Field(
        default="minimal",
        description="What is measured on hosts besides losses and accuracies. minimal: nothing; "
        "standard: norms of gradients and weights by layer; diagnostic: also percentiles of "
        "gradients and accuracy by class; research: also sharpness of the loss.",
    )
    sinks: tuple[Name, ...] = Field(
        default=(),
        strict=False,
        max_length=16,
        description="Sinks of plugins that get every event besides the log.",
    )


class CheckpointConfig(Settings):
    """When a run writes a checkpoint, and how many it keeps.

    The first one follows the first round. A last one is written when a run ends, stops or
    fails, whatever is set here.
    """

    every: int = Field(
        default=10,
        ge=1,
        lt=1_000_001,
        description="Rounds between checkpoints; the first is written after the first round.",
    )
    minutes: float = Field(
        default=2.0,
        ge=0,
        le=10_080,
        description="Also write one after a round if the last is older than this many minutes.",
    )
    keep: int = Field(
        default=5, ge=0, lt=1_000_001, description="Number of newest checkpoints to keep; 0: all."
    )


class CompileConfig(Settings):
    """Whether the policy's update is compiled by ``torch.compile``, and how hard it tries."""

    mode: CompileMode = Field(
        default="default",
        description="Mode of torch.compile for the policy; default: compile on a GPU only.",
    )
    force: bool = Field(default=False, description="Compile even where the mode would not.")


class HeuristicRules(Settings):
    """What the rule-based controller asks for."""

    min_fossilize_improvement: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Accuracy points above which a seed is fossilized. None: the task's own.",
    )


class TrainingConfig(Settings):
    """Everything that decides a training run.

    ``n_episodes`` counts PPO rounds; a run trains ``n_episodes * n_envs`` hosts for
    ``max_epochs`` epochs each.
    """

    task: Name = Field(default="cifar10", description="Task to train on.")
    seed: int = Field(default=42, ge=0, lt=2**31, description="Random seed of the run.")
    n_episodes: Rounds = Field(
        default=100,
        description="PPO rounds: one episode in every environment, then a policy update.",
    )
    n_envs: Environments = Field(
        default=4, description="Hosts that train side by side in each round."
    )
    max_epochs: Epochs = Field(
        default=150,
        description="Epochs a host trains for; also the length of the LSTM's sequences.",
    )
    slots: tuple[SlotId, ...] | None = Field(
        default=None,
        min_length=1,
        strict=False,
        max_length=MOST_SLOTS,
        description="Slots to enable, such as: r0c0 r0c1. None: the task's own.",
    )
    blueprints: tuple[BlueprintName, ...] | None = Field(
        default=None,
        min_length=1,
        strict=False,
        max_length=MOST_BLUEPRINTS,
        description="Blueprints to choose from, such as: conv_light norm. None: the task's own.",
    )
    max_seeds: int | None = Field(
        default=None,
        ge=1,
        le=MOST_SLOTS,
        description="Most seeds in a host, fossilized ones included. None: one for each slot.",
    )
    device: Name | None = Field(
        default=None,
        description="Device to train on: cpu, cuda:0. None: cuda:0 if there is one, else cpu.",
    )
    devices: tuple[Name, ...] = Field(
        default=(),
        strict=False,
        max_length=MOST_DEVICES,
        description="Devices to spread hosts over, a process each, such as: cuda:0 cuda:1.",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Processes to spread hosts over on a CPU. None: one for each core.",
    )
    data_root: FolderPath = Field(default="data", description="Folder of downloaded data sets.")
    amp: bool = Field(default=False, description="Compute hosts in mixed precision.")
    amp_dtype: AmpDtype = Field(
        default="bfloat16",
        description="The narrower type of mixed precision; gradients in float16 are scaled.",
    )
    compile: CompileConfig = CompileConfig()
    host: HostTraining | None = Field(
        default=None, description="How hosts are trained. None: the task's own."
    )
    lifecycle: LifecycleRules = LifecycleRules()
    reward: RewardConfig = RewardConfig()
    ppo: PPOConfig = PPOConfig()
    policy: PolicyConfig = PolicyConfig()
    governor: GovernorConfig = GovernorConfig()
    counterfactuals: CounterfactualSet = CounterfactualSet()
    feed: FeedConfig = FeedConfig()
    heuristic: HeuristicRules = HeuristicRules()
    telemetry: TelemetryConfig = TelemetryConfig()
    checkpoints: CheckpointConfig = CheckpointConfig()

    @field_validator("ppo")
    @classmethod
    def _known_heads(cls, value: PPOConfig) -> PPOConfig:
        for name in value.entropy_multipliers:
            if name not in HEADS:
                raise ValueError(
                    f"entropy_multipliers: no head '{name}'; heads: {', '.join(HEADS)}"
                )
        return value

    @field_validator("slots")
    @classmethod
    def _ordered(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else order_slots(value)
