"""The configuration of a run: one strict model, one nested part a component."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from esper_leyline.actions import HEADS
from esper_leyline.lifecycle.gates import LifecycleRules
from esper_leyline.observation import BLUEPRINT_EMBEDDING
from esper_leyline.ranges import (
    MOST_DEVICES,
    MOST_SLOTS,
    Environments,
    Episodes,
    Epochs,
    FolderPath,
    LearningRate,
    Name,
    Parameters,
    Positive,
    Rounds,
    Share,
    Weight,
)
from esper_leyline.slots import SlotId, order_slots
from esper_leyline.specs.tasks import HostTraining
from esper_leyline.wire import Settings

RewardMode = Literal["shaped", "simplified", "basic", "basic_plus", "sparse", "minimal", "escrow"]
RewardFamily = Literal["contribution", "loss"]
RewardPart = Literal[
    "shaping",
    "attribution",
    "drip",
    "progress",
    "rent",
    "alpha_shock",
    "warnings",
    "intervention",
    "terminal",
]
TelemetryLevel = Literal["off", "minimal", "normal", "debug"]
AmpDtype = Literal["bfloat16", "float16"]
CompileMode = Literal["default", "max-autotune", "reduce-overhead", "off"]


MOST_UNITS = 4096
"""Widest layer of a policy; one of that size and its optimiser take 2 GB."""


class RewardConfig(Settings):
    """What the policy is paid for; the formulas are in ``esper_simic.rewards``."""

    mode: RewardMode = "shaped"
    family: RewardFamily = "contribution"
    param_budget: Parameters = Field(
        default=500_000, description="Seed parameters free of penalty."
    )
    param_penalty_weight: Weight = 0.1
    rent_host_params_floor: Parameters = 200
    drip_fraction: Share = Field(default=0.7, description="basic_plus: share paid later.")
    shaping_weight: Weight = 0.3
    shaping_epoch_bonus: Weight = Field(default=0.3, description="Potential an epoch in stage.")
    shaping_epoch_cap: Weight = 2.0
    attribution_weight: Weight = 1.0
    attribution_live_share: Share = Field(default=0.2, description="Paid before commitment.")
    rent_weight: Weight = 0.05
    rent_cap: Weight = 0.5
    alpha_shock_weight: Weight = 0.05
    warning_weight: Weight = 0.1
    intervention_cost: Weight = 0.01
    terminal_accuracy_weight: Weight = 3.0
    terminal_fossil_bonus: Weight = 0.5
    simplified_fossil_bonus: Weight = Field(
        default=2.0, description="simplified: for each contributing fossil."
    )
    loss_weight: Weight = Field(default=1.0, description="Family loss: pay for a fall by one nat.")
    ablate: tuple[RewardPart, ...] = Field(
        default=(),
        strict=False,
        max_length=len(get_args(RewardPart)),
        description="Parts of the mode that are switched off.",
    )

    @property
    def reads_committed(self) -> bool:
        """Whether it is reckoned from the accuracy that the host has with its fossils alone."""
        return self.family == "contribution" and self.mode in ("sparse", "minimal")


class PPOConfig(Settings):
    """Proximal policy optimisation over recurrent episodes (Schulman et al. 2017)."""

    epochs: int = Field(default=1, ge=1, le=1000, description="Passes over each round's rollout.")
    minibatches: Environments = Field(
        default=1, description="Steps a pass, each on its share of the environments."
    )
    gamma: Share = 0.995
    gae_lambda: Share = 0.98
    clip: float = Field(default=0.2, gt=0, lt=1)
    learning_rate: LearningRate = 3e-4
    learning_rate_final: float | None = Field(
        default=None, ge=0, le=10, description="None: no schedule."
    )
    learning_rate_anneal_episodes: Episodes = 0
    adam_eps: float = Field(default=1e-5, gt=0, le=1)
    max_grad_norm: Positive = 5.0
    value_coefficient: Weight = 0.5
    entropy_coefficient: Weight = 0.05
    entropy_final: Weight | None = Field(default=None, description="None: no annealing.")
    entropy_anneal_episodes: Episodes = 0
    entropy_multipliers: dict[Name, Weight] = Field(default_factory=dict, max_length=len(HEADS))
    target_kl: float | None = Field(
        default=0.05,
        gt=0,
        le=1e6,
        description="KL divergence, in nats a decision, that no head should pass by far in a "
        "round: the learning rate is cut and restored around it. None: a fixed learning rate.",
    )
    chunk_length: Epochs | None = Field(default=None, description="None: whole episodes.")
    normalize_values: bool = True
    scale_rewards: bool = True
    bootstrap_horizon: bool = Field(
        default=False, description="Ablation: treat the horizon as a cut."
    )
    critic: Literal["q", "v"] = "q"
    amp: bool = Field(
        default=False,
        description="Compute the policy in bfloat16 in the passes, its LSTM excepted.",
    )

    @field_validator("entropy_multipliers")
    @classmethod
    def _known_heads(cls, value: dict[str, float]) -> dict[str, float]:
        for name in value:
            if name not in HEADS:
                raise ValueError(f"no head '{name}'; heads: {', '.join(HEADS)}")
        return value


class PolicyConfig(Settings):
    """Sizes of Policy V2 and the probability floors of its heads."""

    feature_size: int = Field(default=512, ge=8, le=MOST_UNITS)
    memory_size: int = Field(default=512, ge=8, le=MOST_UNITS, description="LSTM hidden units.")
    blueprint_embedding: int = Field(default=BLUEPRINT_EMBEDDING, ge=1, le=1024)
    floors: dict[Name, Annotated[float, Field(ge=0, lt=1)]] = Field(
        default_factory=lambda: {
            "op": 0.15,
            "slot": 0.05,
            "blueprint": 0.12,
            "style": 0.08,
            "tempo": 0.12,
            "alpha_target": 0.08,
            "alpha_speed": 0.06,
            "alpha_curve": 0.06,
        },
        max_length=len(HEADS),
        description="Probability mass a head spreads evenly over its valid choices.",
    )

    @field_validator("floors")
    @classmethod
    def _all_heads(cls, value: dict[str, float]) -> dict[str, float]:
        if set(value) != set(HEADS):
            raise ValueError(f"floors name each head once: {', '.join(HEADS)}")
        return value


class GovernorConfig(Settings):
    """When a host counts as unstable, and how far it is rolled back."""

    snapshot_every: Epochs = Field(default=5, description="Epochs between snapshots.")
    chance_margin: Positive = Field(default=0.065, description="Share of ln(classes).")
    divergence_loss: Positive = 12.0
    divergence_sigmas: Positive = 6.0
    divergence_factor: float = Field(default=3.0, gt=1, le=1e6)
    divergence_patience: Epochs = 3


class CounterfactualSet(Settings):
    """Which hosts with seeds switched off an epoch validates, besides each seed left out.

    What a reward mode or the telemetry level reads is measured whatever stands here.
    """

    none: bool = Field(default=True, description="No active seed.")
    solo: bool = Field(default=False, description="Each active seed alone.")
    pairs: bool = Field(
        default=True, description="Each two alone, and what interactions take besides: solo, none."
    )
    committed: bool = Field(default=False, description="Fossils alone.")
    shapley: bool = Field(
        default=False, description="On the last epoch, what the seeds' Shapley values take."
    )
    shapley_pairs: int = Field(
        default=8,
        ge=1,
        le=1024,
        description="Beyond four seeds: orders drawn, each also taken backwards.",
    )


class TelemetryConfig(Settings):
    """How much a run writes to its log."""

    level: TelemetryLevel = "normal"
    lifecycle_only: bool = Field(default=False, description="Keep lifecycle events at any level.")


class FeedConfig(Settings):
    """How batches reach the hosts; the same rows in the same order whichever way."""

    num_workers: int = Field(
        default=0, ge=0, le=256, description="Processes of a DataLoader; 0 on a CPU: no DataLoader."
    )
    gpu_preload: bool = Field(default=False, description="Keep all rows in the GPU's memory.")
    gpu_preload_gather: bool = Field(
        default=False, description="Gather batches there by index, without a DataLoader."
    )


class CheckpointConfig(Settings):
    """When a run writes a checkpoint, and how many it keeps.

    The first one follows the first round. A last one is written when a run ends, stops or
    fails, whatever is set here.
    """

    every: int = Field(default=10, ge=1, lt=1_000_001, description="Rounds between checkpoints.")
    minutes: float = Field(
        default=2.0,
        ge=0,
        le=10_080,
        description="Also one at the end of a round when the last is older than this.",
    )
    keep: int = Field(
        default=5, ge=0, lt=1_000_001, description="How many of the newest a run keeps; 0: all."
    )


class CompileConfig(Settings):
    """Whether the policy's update is compiled by ``torch.compile``, and how hard it tries."""

    mode: CompileMode = Field(
        default="default", description="A mode of torch.compile; default: on a GPU only."
    )
    force: bool = Field(default=False, description="Compile wherever the mode would not.")


class HeuristicRules(Settings):
    """What the rule-based controller asks for."""

    min_fossilize_improvement: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Points of accuracy that a seed must exceed to stay. None: the task's own.",
    )


class TrainingConfig(Settings):
    """Everything that decides a training run.

    ``n_episodes`` counts PPO rounds; a run trains ``n_episodes * n_envs`` hosts for
    ``max_epochs`` epochs each.
    """

    task: Name = "cifar10"
    seed: int = Field(default=42, ge=0, lt=2**31)
    n_episodes: Rounds = 100
    n_envs: Environments = 4
    max_epochs: Epochs = 150
    slots: tuple[SlotId, ...] | None = Field(
        default=None,
        min_length=1,
        strict=False,
        max_length=MOST_SLOTS,
        description="None: the task's own.",
    )
    max_seeds: int | None = Field(
        default=None, ge=1, le=MOST_SLOTS, description="None: as many as there are slots."
    )
    device: Name | None = Field(
        default=None, description="None: cuda:0 where there is one, else cpu."
    )
    devices: tuple[Name, ...] = Field(
        default=(),
        strict=False,
        max_length=MOST_DEVICES,
        description="Spread hosts over these, a process each. None: device alone.",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Processes that hosts are spread over on a CPU. None: one a core.",
    )
    data_root: FolderPath = Field(default="data", description="Folder of downloaded data sets.")
    amp: bool = Field(default=False, description="Compute hosts in mixed precision.")
    amp_dtype: AmpDtype = Field(
        default="bfloat16", description="The narrower type; gradients in float16 are scaled."
    )
    compile: CompileConfig = CompileConfig()
    host: HostTraining | None = Field(default=None, description="None: the task's own.")
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

    @field_validator("slots")
    @classmethod
    def _ordered(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else order_slots(value)
