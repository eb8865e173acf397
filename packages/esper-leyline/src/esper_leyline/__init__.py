"""Shared contracts of Esper: what its domains say to each other, and nothing else.

Events live in ``esper_leyline.events``, JSON Schemas in ``esper_leyline.schemas``.
"""

from esper_leyline.actions import (
    BUILT_IN_BLUEPRINTS,
    CANONICAL_INDEX,
    HEADS,
    RELEVANT_HEADS,
    AlphaCurve,
    BlendAlgorithm,
    BlendStyle,
    Blueprint,
    FactoredAction,
    Op,
    Topology,
    head_sizes,
)
from esper_leyline.checkpoint import CheckpointManifest
from esper_leyline.commands import (
    Advance,
    Fossilize,
    Germinate,
    Prune,
    SeedCommand,
    SetAlphaTarget,
    Tick,
)
from esper_leyline.config.host import HostOptions, HostTraining
from esper_leyline.config.overrides import override, parse_config, read_config
from esper_leyline.config.policy import PolicyConfig
from esper_leyline.config.ppo import PPOConfig
from esper_leyline.config.reward import RewardConfig
from esper_leyline.config.training import TrainingConfig
from esper_leyline.errors import (
    ConfigError,
    EsperError,
    LeylineError,
    printable,
    show_text,
    unknown_name,
)
from esper_leyline.files.atomic import write_atomically
from esper_leyline.files.paths import open_regular
from esper_leyline.lifecycle.gates import Gate, LifecycleRules, SeedEvidence
from esper_leyline.lifecycle.machine import AlphaMode, SeedState, advance
from esper_leyline.lifecycle.stages import ACTIVE_STAGES, LIVE_STAGES, OCCUPIED_STAGES, SeedStage
from esper_leyline.observation import BASE_FEATURES, BASE_SIZE, SLOT_FEATURES, observation_size
from esper_leyline.ports import (
    Controller,
    Environment,
    EnvironmentSpec,
    ExplainingController,
    HostPlacement,
    MorphogeneticHost,
    NullTelemetry,
    Observation,
    PolicyEvaluation,
    RewardFunction,
    Telemetry,
)
from esper_leyline.registry import Registry
from esper_leyline.reports import (
    CommandResult,
    CounterfactualConfig,
    EpisodeEnd,
    EvaluationReport,
    Flag,
    GovernorCause,
    Measurement,
    RewardBreakdown,
    Rollback,
    SeedEvent,
    SeedEventKind,
    SeedMeasurement,
    SeedReport,
    StepReport,
)
from esper_leyline.specs.hosts import CNNHostSpec, HostSpec, MLPHostSpec, TransformerHostSpec
from esper_leyline.specs.tasks import DataSpec, TaskSpec, check_slots
from esper_leyline.summary import RoundSummary, RunStatus, RunSummary

__all__ = [
    "ACTIVE_STAGES",
    "BASE_FEATURES",
    "BASE_SIZE",
    "BUILT_IN_BLUEPRINTS",
    "CANONICAL_INDEX",
    "HEADS",
    "LIVE_STAGES",
    "OCCUPIED_STAGES",
    "RELEVANT_HEADS",
    "SLOT_FEATURES",
    "Advance",
    "AlphaCurve",
    "AlphaMode",
    "BlendAlgorithm",
    "BlendStyle",
    "Blueprint",
    "CNNHostSpec",
    "CheckpointManifest",
    "CommandResult",
    "ConfigError",
    "Controller",
    "CounterfactualConfig",
    "DataSpec",
    "Environment",
    "EnvironmentSpec",
    "EpisodeEnd",
    "EsperError",
    "EvaluationReport",
    "ExplainingController",
    "FactoredAction",
    "Flag",
    "Fossilize",
    "Gate",
    "Germinate",
    "GovernorCause",
    "HostOptions",
    "HostPlacement",
    "HostSpec",
    "HostTraining",
    "LeylineError",
    "LifecycleRules",
    "MLPHostSpec",
    "Measurement",
    "MorphogeneticHost",
    "NullTelemetry",
    "Observation",
    "Op",
    "PPOConfig",
    "PolicyConfig",
    "PolicyEvaluation",
    "Prune",
    "Registry",
    "RewardBreakdown",
    "RewardConfig",
    "RewardFunction",
    "Rollback",
    "RoundSummary",
    "RunStatus",
    "RunSummary",
    "SeedCommand",
    "SeedEvent",
    "SeedEventKind",
    "SeedEvidence",
    "SeedMeasurement",
    "SeedReport",
    "SeedStage",
    "SeedState",
    "SetAlphaTarget",
    "StepReport",
    "TaskSpec",
    "Telemetry",
    "Tick",
    "Topology",
    "TrainingConfig",
    "TransformerHostSpec",
    "advance",
    "check_slots",
    "head_sizes",
    "observation_size",
    "open_regular",
    "override",
    "parse_config",
    "printable",
    "read_config",
    "show_text",
    "unknown_name",
    "write_atomically",
]
