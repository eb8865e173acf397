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

    mode: RewardMode = Field(
        default="shaped", description="Formula of the reward; esper-simic's README compares them."
    )
    family: RewardFamily = Field(
        default="contribution",
        description="Pay for measured contributions, or for a falling validation loss.",
    )
    param_budget: Parameters = Field(
        default=500_000, description="Seed parameters without penalty."
    )
    param_penalty_weight: Weight = Field(
        default=0.1, description="Penalty for each further param_budget of seed parameters."
    )
    rent_host_params_floor: Parameters = Field(
        default=200, description="Least host parameters that rent counts with."
    )
    drip_fraction: Share = Field(
        default=0.7,
        description="basic_plus: share of a gain that is paid in equal parts until the horizon.",
    )
    shaping_weight: Weight = Field(
        default=0.3, description="Weight of the potential-based shaping."
    )
    shaping_epoch_bonus: Weight = Field(
        default=0.3, description="Potential of each epoch in a stage."
    )
    shaping_epoch_cap: Weight = Field(
        default=2.0, description="Most potential that the epochs in a stage add up to."
    )
    attribution_weight: Weight = Field(
        default=1.0, description="Weight of the seeds' contributions."
    )
    attribution_live_share: Share = Field(
        default=0.2,
        description="Share of a contribution that is paid before the seed is fossilized.",
    )
    rent_weight: Weight = Field(
        default=0.05, description="Weight of the rent for grown parameters."
    )
    rent_cap: Weight = Field(default=0.5, description="Most rent of a step.")
    alpha_shock_weight: Weight = Field(
        default=0.05, description="Weight of the penalty for jumps of alpha."
    )
    warning_weight: Weight = Field(
        default=0.1, description="Penalty for each warning, such as a rejected action."
    )
    intervention_cost: Weight = Field(default=0.01, description="Cost of every op except WAIT.")
    terminal_accuracy_weight: Weight = Field(
        default=3.0, description="Weight of the accuracy at the end of an episode."
    )
    terminal_fossil_bonus: Weight = Field(
        default=0.5, description="Bonus at the end for each contributing fossilized seed."
    )
    simplified_fossil_bonus: Weight = Field(
        default=2.0, description="simplified: bonus for each contributing fossilized seed."
    )
    loss_weight: Weight = Field(
        default=1.0, description="Family loss: pay for a fall of the validation loss by one nat."
    )
    ablate: tuple[RewardPart, ...] = Field(
        default=(),
        strict=False,
        max_length=len(get_args(RewardPart)),
        description="Parts of the mode to switch off.",
    )

    @property
    def reads_committed(self) -> bool:
        """Whether it is reckoned from the accuracy that the host has with its fossils alone."""
        return self.family == "contribution" and self.mode in ("sparse", "minimal")


class PPOConfig(Settings):
    """Proximal policy optimisation over recurrent episodes (Schulman et al. 2017)."""

    epochs: int = Field(default=1, ge=1, le=1000, description="Passes over each round's rollout.")
    minibatches: Environments = Field(
        default=1,
        description="Optimizer steps in each pass, each on its share of the environments.",
    )
    gamma: Share = Field(default=0.995, description="Discount factor.")
    gae_lambda: Share = Field(
        default=0.98, description="Lambda of generalized advantage estimation."
    )
    clip: float = Field(default=0.2, gt=0, lt=1, description="Clip range of the probability ratio.")
    learning_rate: LearningRate = Field(default=3e-4, description="Learning rate of Adam.")
    learning_rate_final: float | None = Field(
        default=None, ge=0, le=10, description="Learning rate after annealing. None: no annealing."
    )
    learning_rate_anneal_episodes: Episodes = Field(
        default=0,
        description="Episodes over which the learning rate is annealed linearly; 0: none.",
    )
    adam_eps: float = Field(default=1e-5, gt=0, le=1, description="Epsilon of Adam.")
    max_grad_norm: Positive = Field(
        default=5.0, description="Norm that the policy's gradient is clipped to."
    )
    value_coefficient: Weight = Field(default=0.5, description="Weight of the value loss.")
    entropy_coefficient: Weight = Field(default=0.05, description="Weight of the entropy bonus.")
    entropy_final: Weight | None = Field(
        default=None, description="Weight of the entropy bonus after annealing. None: no annealing."
    )
    entropy_anneal_episodes: Episodes = Field(
        default=0,
        description="Episodes over which the entropy bonus is annealed linearly; 0: none.",
    )
    entropy_multipliers: dict[Name, Weight] = Field(
        default_factory=dict,
        max_length=len(HEADS),
        description="Factors of the entropy bonus by head.",
    )
    target_kl: float | None = Field(
        default=0.05,
        gt=0,
        le=1e6,
        description="Target of each head's KL divergence, in nats; adapts the learning rate. "
        "None: off.",
    )
    chunk_length: Epochs | None = Field(
        default=None,
        description="Steps that gradients reach back through the LSTM. None: whole episodes.",
    )
    normalize_values: bool = Field(
        default=True, description="Normalize the value targets by running statistics."
    )
    scale_rewards: bool = Field(
        default=True, description="Divide rewards by the running deviation of returns."
    )
    bootstrap_horizon: bool = Field(
        default=False, description="Bootstrap the value at the horizon, as if the episode went on."
    )
    critic: Literal["q", "v"] = Field(default="q", description="Critic: Q(s, op), or V(s).")
    amp: bool = Field(
        default=False, description="Compute the policy's update in bfloat16, except its LSTM."
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

    feature_size: int = Field(default=512, ge=8, le=MOST_UNITS, description="Units of the encoder.")
    memory_size: int = Field(
        default=512, ge=8, le=MOST_UNITS, description="Hidden units of the LSTM."
    )
    blueprint_embedding: int = Field(
        default=BLUEPRINT_EMBEDDING, ge=1, le=1024, description="Size of the blueprint embedding."
    )
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
        description="By head, the probability that is spread evenly over its valid choices.",
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
    """Which hosts with seeds switched off an epoch validates, besides each seed left out.

    What a reward mode or the telemetry level reads is measured whatever stands here.
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


class TelemetryConfig(Settings):
    """How much a run writes to its log."""

    level: TelemetryLevel = Field(default="normal", description="Amount of telemetry in the log.")
    lifecycle_only: bool = Field(
        default=False, description="Keep lifecycle events whatever the level."
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

    @field_validator("slots")
    @classmethod
    def _ordered(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else order_slots(value)
