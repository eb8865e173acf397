"""The options of the commands, grouped as ``--help`` shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from esper_karn.weights_and_biases.options import WandbOptions
from esper_leyline import TrainingConfig
from esper_leyline.numbers import read_whole
from esper_train.settings.flags import (
    CHECKPOINTS,
    CONFIG,
    TELEMETRY,
    SettingFlags,
    make_flags,
    with_flags,
)

JUDGING_SEEDS = 20
"""Number of unseen hosts that is enough for most differences."""

HEURISTIC_DEFAULTS = {"n_episodes": 1, "n_envs": 1, "max_epochs": 75, "host.max_batches": 50}
"""Settings of ``esper-train heuristic`` that differ from the defaults."""

COMPARISON = Group("A/B comparison", sort_key=6)
TASKS = Group("Tasks", sort_key=1)
EVALUATION = Group("Evaluation", sort_key=1)

_MACHINE = ("device", "data_root")
_PRECISION = (*_MACHINE, "amp", "amp_dtype")
_SPREAD = (*_PRECISION, "devices", "workers", "feed")
_LEARNER = ("ppo", "policy", "compile", "checkpoints", "n_envs", "devices", "workers", "feed")
"""What a run without a learner, of one host at a time, does not read."""

PPO_FLAGS = make_flags(
    "PPOFlags",
    tuple(TrainingConfig.model_fields),
    short={"n_episodes": "rounds", "max_epochs": "episode-length"},
    helps={"task": "Task to train on. Default: the preset's."},
)
HEURISTIC_FLAGS = make_flags(
    "HeuristicFlags",
    tuple(key for key in TrainingConfig.model_fields if key not in _LEARNER),
    short={"n_episodes": "episodes"},
    helps={
        "n_episodes": "Hosts to train, one after another. Default: 1.",
        "max_epochs": "Epochs of each host. Default: 75.",
        "host.max_batches": "Most batches in an epoch; 0: all. Default: 50.",
        "task": "Task to train on. Default: cifar10 where there is a GPU, else mnist1d_blind.",
    },
)
EVALUATION_FLAGS = make_flags(
    "EvaluationFlags",
    ("task", "n_envs", "max_epochs", "host.max_batches"),
    helps={
        "task": "Task to evaluate on. Default: the checkpoint's, else cifar10 on a GPU, "
        "mnist1d_blind on a CPU.",
        "n_envs": "Hosts that train side by side. Default: the checkpoint's or the preset's.",
        "max_epochs": "Epochs of each host. Default: the checkpoint's or the preset's.",
        "host.max_batches": "Most batches in an epoch; 0: all. Default: the checkpoint's or the "
        "task's.",
    },
    group=EVALUATION,
)
SPREAD_FLAGS = make_flags("SpreadFlags", _SPREAD)
MACHINE_FLAGS = make_flags("MachineFlags", _MACHINE)

_Switch = Parameter(negative=())
_Many = Parameter(consume_multiple=(1, None), negative_iterable=())
_Whole = Parameter(converter=read_whole)
_Flat = Parameter(
    name="*", negative=(), negative_iterable=(), consume_multiple=(1, None), show_default=False
)


@Parameter(name="*", group=CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class SetOptions:
    """Settings by their keys."""

    set: Annotated[list[str] | None, Parameter(negative_iterable=())] = None
    """KEY=VALUE: any setting of the config by its dotted key, such as ppo.learning_rate=0.0001.
    May be given several times."""


@Parameter(name="*", group=CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions(SetOptions):
    """The configuration that a PPO run starts from."""

    preset: str | None = None
    """Preset to start from. Default: cifar10 where there is a GPU, else mnist1d_blind."""

    config_json: Path | None = None
    """JSON config to start from; unknown keys are errors."""


@Parameter(name="*", group=CHECKPOINTS)
@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointOptions:
    """Checkpoints to read and to write, besides those in the run directory."""

    save: Path | None = None
    """Also write the final checkpoint to this file."""

    resume: Path | None = None
    """Resume a run in its own directory: that directory, its newest checkpoint, or "latest", for
    the latest run in --runs. Another checkpoint file starts a new run directory."""


@Parameter(name="*", group=TELEMETRY)
@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryOptions:
    """Where a run writes, and what it prints."""

    runs: Path = Path("runs")
    """Folder in which the run gets a directory of its own."""

    telemetry_file: Path | None = None
    """Write the event log to this file."""

    telemetry_dir: Path | None = None
    """Write the event log to a timestamped folder in this one."""

    no_tui: Annotated[bool, _Switch] = False
    """Print plain lines, also on a terminal."""

    sanctum: Annotated[bool, _Switch] = False
    """Show the run in Sanctum, on the whole terminal, in place of the dashboard."""

    overwatch: Annotated[bool, _Switch] = False
    """Serve a page that shows the run, for this machine alone, and print its link."""

    overwatch_port: Annotated[int | None, _Whole] = None
    """Port of --overwatch; 0 takes a free one. Default: 8080."""

    dashboard: Annotated[bool, _Switch] = False
    """Serve the same page on all network interfaces, and print a link for each."""

    dashboard_port: Annotated[int | None, _Whole] = None
    """Port of --dashboard; 0 takes a free one. Default: 8000."""

    wandb: Annotated[bool, _Switch] = False
    """Send the run to Weights & Biases; needs: uv sync --extra wandb."""

    wandb_options: Annotated[WandbOptions, _Flat] = field(default_factory=WandbOptions)

    @property
    def pages(self) -> tuple[str, ...]:
        """The flags given that serve a page."""
        given = {"--overwatch": self.overwatch, "--dashboard": self.dashboard}
        return tuple(flag for flag, wanted in given.items() if wanted)

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The flags given that show the run in more than the console view."""
        return (*(("--sanctum",) if self.sanctum else ()), *self.pages)


@Parameter(name="*", group=COMPARISON)
@dataclass(frozen=True, slots=True, kw_only=True)
class DualOptions:
    """Two runs to compare."""

    dual_ab: str | None = None
    """Train a policy by each of two reward modes and compare them, such as: shaped-vs-simplified.
    """

    ab_seeds: Annotated[int | None, _Whole] = None
    """Unseen hosts that --dual-ab evaluates both policies on. Default: 20."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
@with_flags(flags=PPO_FLAGS)
class PPOOptions:
    """All options of ``esper-train ppo``."""

    flags: SettingFlags = field(default_factory=PPO_FLAGS)
    source: SourceOptions = field(default_factory=SourceOptions)
    checkpoints: CheckpointOptions = field(default_factory=CheckpointOptions)
    telemetry: TelemetryOptions = field(default_factory=TelemetryOptions)
    dual: DualOptions = field(default_factory=DualOptions)


@Parameter(name="*", group=TASKS)
@dataclass(frozen=True, slots=True, kw_only=True)
class TasksOptions:
    """What to print of the tasks."""

    no_time: Annotated[bool, _Switch] = False
    """Do not measure the time of an epoch on this machine, which takes some seconds."""


@Parameter(name="*", group=CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigOptions:
    """How to print a configuration."""

    json: Annotated[bool, _Switch] = False
    """Print a file that --config-json takes, in place of the table."""


@Parameter(name="*", group=EVALUATION)
@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """What to compare, and on how many hosts."""

    arms: Annotated[list[str] | None, _Many] = None
    """Arms: static, random, schedule, heuristic (the default: these four), or checkpoints;
    scratch: hosts that start as another arm's ended; scratch-flops: the same, trained for as many
    FLOPs. LABEL=ARM calls an arm LABEL in tables, in plots and where it is named again."""

    baseline: str | None = None
    """The arm that the others are compared with. Default: the first."""

    seeds: Annotated[int, _Whole] = JUDGING_SEEDS
    """Hosts of each arm, the same for all arms; no training uses them."""

    range: Literal["tuning", "reporting"] = "tuning"
    """Which hosts: those to choose settings by, or those kept for published figures."""

    first_seed: Annotated[int, _Whole] = 0
    """Seeds of the range to skip, for hosts that earlier evaluations have not used."""

    policy: Literal["sampled", "greedy"] = "sampled"
    """How checkpoints act: by sampling, as in training, or by the most probable choice."""

    out: Path | None = None
    """Folder for evaluation.json and evaluation.png. Default: a new one in evaluations."""
