"""The configuration of a run: one strict model, one nested part a component."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator

from esper_leyline.actions import HEADS
from esper_leyline.errors import ConfigError
from esper_leyline.gates import LifecycleRules
from esper_leyline.observation import BLUEPRINT_EMBEDDING
from esper_leyline.slots import SlotId, order_slots
from esper_leyline.specs import HostTraining
from esper_leyline.wire import Contract

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


class RewardConfig(Contract):
    """What the policy is paid for; the formulas are in ``esper_simic.rewards``."""

    mode: RewardMode = "shaped"
    family: RewardFamily = "contribution"
    param_budget: int = Field(default=500_000, ge=1, description="Seed parameters free of penalty.")
    param_penalty_weight: float = Field(default=0.1, ge=0)
    rent_host_params_floor: int = Field(default=200, ge=1)
    drip_fraction: float = Field(
        default=0.7, ge=0, le=1, description="basic_plus: share paid later."
    )
    shaping_weight: float = Field(default=0.3, ge=0)
    shaping_epoch_bonus: float = Field(
        default=0.3, ge=0, description="Potential an epoch in stage."
    )
    shaping_epoch_cap: float = Field(default=2.0, ge=0)
    attribution_weight: float = Field(default=1.0, ge=0)
    attribution_live_share: float = Field(
        default=0.2, ge=0, le=1, description="Paid before commitment."
    )
    rent_weight: float = Field(default=0.05, ge=0)
    rent_cap: float = Field(default=0.5, ge=0)
    alpha_shock_weight: float = Field(default=0.05, ge=0)
    warning_weight: float = Field(default=0.1, ge=0)
    intervention_cost: float = Field(default=0.01, ge=0)
    terminal_accuracy_weight: float = Field(default=3.0, ge=0)
    terminal_fossil_bonus: float = Field(default=0.5, ge=0)
    simplified_fossil_bonus: float = Field(
        default=2.0, ge=0, description="simplified: for each contributing fossil."
    )
    loss_weight: float = Field(
        default=1.0, ge=0, description="Family loss: pay for a fall by one nat."
    )
    ablate: tuple[RewardPart, ...] = Field(
        default=(), description="Parts of the mode that are switched off."
    )

    @property
    def reads_committed(self) -> bool:
        """Whether it is reckoned from the accuracy that the host has with its fossils alone."""
        return self.family == "contribution" and self.mode in ("sparse", "minimal")


class PPOConfig(Contract):
    """Proximal policy optimisation over recurrent episodes (Schulman et al. 2017)."""

    epochs: int = Field(default=1, ge=1, description="Passes over each round's rollout.")
    minibatches: int = Field(
        default=1, ge=1, description="Steps a pass, each on its share of the environments."
    )
    gamma: float = Field(default=0.995, ge=0, le=1)
    gae_lambda: float = Field(default=0.98, ge=0, le=1)
    clip: float = Field(default=0.2, gt=0, lt=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    learning_rate_final: float | None = Field(default=None, ge=0, description="None: no schedule.")
    learning_rate_anneal_episodes: int = Field(default=0, ge=0)
    adam_eps: float = Field(default=1e-5, gt=0)
    max_grad_norm: float = Field(default=5.0, gt=0)
    value_coefficient: float = Field(default=0.5, ge=0)
    entropy_coefficient: float = Field(default=0.05, ge=0)
    entropy_final: float | None = Field(default=None, ge=0, description="None: no annealing.")
    entropy_anneal_episodes: int = Field(default=0, ge=0)
    entropy_multipliers: dict[str, float] = Field(default_factory=dict)
    target_kl: float | None = Field(
        default=0.05, gt=0, description="Joint KL that stops a round's passes."
    )
    chunk_length: int | None = Field(default=None, ge=1, description="None: whole episodes.")
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


class PolicyConfig(Contract):
    """Sizes of Policy V2 and the probability floors of its heads."""

    feature_size: int = Field(default=512, ge=8)
    memory_size: int = Field(default=512, ge=8, description="LSTM hidden units.")
    blueprint_embedding: int = Field(default=BLUEPRINT_EMBEDDING, ge=1)
    floors: dict[str, float] = Field(
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
        description="Probability mass a head spreads evenly over its valid choices.",
    )

    @field_validator("floors")
    @classmethod
    def _all_heads(cls, value: dict[str, float]) -> dict[str, float]:
        if set(value) != set(HEADS):
            raise ValueError(f"floors name each head once: {', '.join(HEADS)}")
        for name, floor in value.items():
            if not 0 <= floor < 1:
                raise ValueError(f"floor of '{name}' is {floor}; it lies in [0, 1)")
        return value


class GovernorConfig(Contract):
    """When a host counts as unstable, and how far it is rolled back."""

    snapshot_every: int = Field(default=5, ge=1, description="Epochs between snapshots.")
    chance_margin: float = Field(default=0.065, gt=0, description="Share of ln(classes).")
    divergence_loss: float = Field(default=12.0, gt=0)
    divergence_sigmas: float = Field(default=6.0, gt=0)
    divergence_factor: float = Field(default=3.0, gt=1)
    divergence_patience: int = Field(default=3, ge=1)


class CounterfactualSet(Contract):
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
        default=8, ge=1, description="Beyond four seeds: orders drawn, each also taken backwards."
    )


class TelemetryConfig(Contract):
    """How much a run writes to its log."""

    level: TelemetryLevel = "normal"
    lifecycle_only: bool = Field(default=False, description="Keep lifecycle events at any level.")


class FeedConfig(Contract):
    """How batches reach the hosts; the same rows in the same order whichever way."""

    num_workers: int = Field(
        default=0, ge=0, description="Processes of a DataLoader; 0 on a CPU: no DataLoader."
    )
    gpu_preload: bool = Field(default=False, description="Keep all rows in the GPU's memory.")
    gpu_preload_gather: bool = Field(
        default=False, description="Gather batches there by index, without a DataLoader."
    )


class CompileConfig(Contract):
    """Whether the policy's update is compiled by ``torch.compile``, and how hard it tries."""

    mode: CompileMode = Field(
        default="default", description="A mode of torch.compile; default: on a GPU only."
    )
    force: bool = Field(default=False, description="Compile wherever the mode would not.")


class HeuristicRules(Contract):
    """What the rule-based controller asks for."""

    min_fossilize_improvement: float | None = Field(
        default=None,
        ge=0,
        description="Points of accuracy that a seed must exceed to stay. None: the task's own.",
    )


class TrainingConfig(Contract):
    """Everything that decides a training run.

    ``n_episodes`` counts PPO rounds; a run trains ``n_episodes * n_envs`` hosts for
    ``max_epochs`` epochs each.
    """

    task: str = "cifar10"
    seed: int = Field(default=42, ge=0, lt=2**31)
    n_episodes: int = Field(default=100, ge=1)
    n_envs: int = Field(default=4, ge=1)
    max_epochs: int = Field(default=150, ge=1)
    slots: tuple[SlotId, ...] | None = Field(default=None, description="None: the task's own.")
    max_seeds: int | None = Field(
        default=None, ge=1, description="None: as many as there are slots."
    )
    device: str | None = Field(
        default=None, description="None: cuda:0 where there is one, else cpu."
    )
    devices: tuple[str, ...] = Field(
        default=(), description="Spread hosts over these, a process each. None: device alone."
    )
    data_root: str = Field(default="data", description="Folder of downloaded data sets.")
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

    @field_validator("slots")
    @classmethod
    def _ordered(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else order_slots(value)


FLAT_KEYS: Mapping[str, tuple[str, str]] = {
    "permissive_gates": ("lifecycle", "permissive_gates"),
    "auto_forward_g1": ("lifecycle", "auto_forward_g1"),
    "auto_forward_g2": ("lifecycle", "auto_forward_g2"),
    "auto_forward_g3": ("lifecycle", "auto_forward_g3"),
    "reward_mode": ("reward", "mode"),
    "reward_family": ("reward", "family"),
    "param_budget": ("reward", "param_budget"),
    "param_penalty_weight": ("reward", "param_penalty_weight"),
    "rent_host_params_floor": ("reward", "rent_host_params_floor"),
    "drip_fraction": ("reward", "drip_fraction"),
    "ppo_epochs": ("ppo", "epochs"),
    "chunk_length": ("ppo", "chunk_length"),
    "entropy_anneal_episodes": ("ppo", "entropy_anneal_episodes"),
    "memory_size": ("policy", "memory_size"),
    "compile_mode": ("compile", "mode"),
    "force_compile": ("compile", "force"),
}
"""Top-level spellings that a config file may use, and the nested key each stands for."""


def parse_config(values: Mapping[str, Any]) -> TrainingConfig:
    """Builds a configuration from plain values, strictly.

    Args:
        values: Nested values as in ``config.json``; the spellings of ``FLAT_KEYS`` are
            also taken at the top level.

    Raises:
        ConfigError: One line that names the key, its value and what is allowed.
    """
    nested = _nest(values)
    try:
        return TrainingConfig.model_validate_json(json.dumps(nested))
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


def read_config(path: Path) -> TrainingConfig:
    """Reads a JSON configuration file.

    Raises:
        ConfigError: If the file cannot be read, is not JSON, or does not fit.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read config '{path}': {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"config '{path}' is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"config '{path}' holds a {type(values).__name__}; write a JSON object")
    try:
        return parse_config(values)
    except ConfigError as error:
        raise ConfigError(f"config '{path}': {error}") from None


def override(config: TrainingConfig, changes: Mapping[str, Any]) -> TrainingConfig:
    """Returns a configuration with some values replaced.

    Args:
        config: The configuration to start from.
        changes: New values by key; nested parts as mappings, merged key by key.

    Raises:
        ConfigError: If a changed value does not fit.
    """
    return parse_config(_merge(config.model_dump(mode="json"), _nest(changes)))


def _nest(values: Mapping[str, Any]) -> dict[str, Any]:
    nested = {key: value for key, value in values.items() if key not in FLAT_KEYS}
    for flat, (part, key) in FLAT_KEYS.items():
        if flat not in values:
            continue
        given = nested.get(part) or {}
        if not isinstance(given, Mapping):
            raise ConfigError(f"'{part}': Input should be an object (given: {given!r})")
        inner = dict(given)
        if key in inner:
            raise ConfigError(f"'{flat}' and '{part}.{key}' are the same setting; give one of them")
        inner[key] = values[flat]
        nested[part] = inner
    return nested


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, Mapping)
        merged[key] = _merge(old, value) if both and isinstance(old, dict) else value
    return merged


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return _explain_unknown(path)
    reason = first["msg"].removeprefix("Value error, ")
    value = first["input"]
    shown = f" (given: {value!r})" if not isinstance(value, dict) else ""
    return f"'{path}': {reason}{shown}" if path else reason


def _explain_unknown(path: str) -> str:
    parent = path.rpartition(".")[0]
    valid = [*_keys(TrainingConfig), *FLAT_KEYS]
    # The section that holds the unknown key is like it, but no answer.
    nearest = max((key for key in valid if key != parent), key=lambda key: _likeness(path, key))
    if _likeness(path, nearest)[0] >= 0.6:
        return f"unknown key '{path}'; the nearest valid key is '{nearest}'"
    siblings = sorted(key for key in valid if key.rpartition(".")[0] == parent)
    return f"unknown key '{path}'; valid keys: {', '.join(siblings or valid)}"


def _likeness(path: str, key: str) -> tuple[float, float]:
    whole = SequenceMatcher(None, path, key).ratio()
    last = SequenceMatcher(None, path.rpartition(".")[2], key.rpartition(".")[2]).ratio()
    return max(whole, last), whole


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, info in model.model_fields.items():
        keys.append(f"{prefix}{name}")
        parts = (info.annotation, *getattr(info.annotation, "__args__", ()))
        for part in parts:
            if isinstance(part, type) and issubclass(part, BaseModel):
                keys.extend(_keys(part, f"{prefix}{name}."))
    return keys
