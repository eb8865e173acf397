"""The flags of the commands, grouped as ``--help`` shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from esper_leyline.config.host import AmpDtype
from esper_leyline.config.training import CompileMode, TelemetryLevel
from esper_train.settings.numbers import read_number, read_whole

JUDGING_SEEDS = 20
"""Unseen hosts that tell most differences apart."""

_Arms = Parameter(
    help="What decides: static, random, schedule, heuristic (the default: these four), or "
    "checkpoints; scratch: hosts born as another arm's ended; scratch-flops: the same, trained for "
    "as many FLOPs. LABEL=ARM calls an arm LABEL in tables, in plots and where it is named again."
)
_Switch = Parameter(negative=())
_AbSeeds = Parameter(
    converter=read_whole,
    help=f"Unseen hosts on which --dual-ab judges both policies. Default: {JUDGING_SEEDS}.",
)
_Many = Parameter(consume_multiple=(1, None), negative_iterable=())
_Whole = Parameter(converter=read_whole)
_Number = Parameter(converter=read_number)

SCALE = Group("Training scale", sort_key=1)
CONFIG = Group("Config and presets", sort_key=2)
HARDWARE = Group("Hardware and data", sort_key=3)
CHECKPOINTS = Group("Checkpoints", sort_key=4)
TELEMETRY = Group("Telemetry and monitoring", sort_key=5)
COMPARISON = Group("A/B comparison", sort_key=6)
TASKS = Group("Tasks", sort_key=1)
EVALUATION = Group("Evaluation", sort_key=1)

_Set = Parameter(
    group=CONFIG,
    negative_iterable=(),
    help="KEY=VALUE: any setting of the config by its dotted key, such as "
    "ppo.learning_rate=0.0001. May be given several times.",
)


@Parameter(name="*", group=SCALE)
@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleOptions:
    """How much a PPO run trains."""

    rounds: Annotated[int | None, _Whole] = None
    "PPO rounds: each trains one episode in every environment, then updates the policy."
    envs: Annotated[int | None, _Whole] = None
    "Hosts that train side by side in each round."
    episode_length: Annotated[int | None, _Whole] = None
    "Epochs a host trains for; also the length of the LSTM's sequences."
    ppo_epochs: Annotated[int | None, _Whole] = None
    "Passes over each round's rollout."
    memory_size: Annotated[int | None, _Whole] = None
    "Hidden units of the policy's LSTM."
    entropy_anneal_episodes: Annotated[int | None, _Whole] = None
    "Episodes over which the entropy bonus falls, to half unless the config says to what."


@Parameter(name="*", group=CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class SettingOptions:
    """Single settings of a run, whatever its config says."""

    set: Annotated[list[str] | None, _Set] = None


@Parameter(name="*", group=CONFIG)
@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigOptions(SettingOptions):
    """Where a PPO run's settings come from."""

    preset: str | None = None
    "Preset to start from. Default: cifar10 where there is a GPU, else mnist1d_blind."
    config_json: Path | None = None
    "JSON config to start from; unknown keys are errors."
    task: str | None = None
    "Task to train on, in place of the preset's."
    seed: Annotated[int | None, _Whole] = None
    "Seed of the run, in place of the config's."
    slots: Annotated[list[str] | None, _Many] = None
    "Slots to enable, such as: r0c0 r0c1. Default: the task's own."
    max_seeds: Annotated[int | None, _Whole] = None
    "Most seeds a host may hold at once, fossilized ones included."


@Parameter(name="*", group=HARDWARE)
@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareOptions:
    """Where a run computes, and where its data lies."""

    device: str | None = None
    "Device to train on, such as: cpu, cuda:0. Default: cuda:0 where there is one, else cpu."
    data_root: Path | None = None
    "Folder of downloaded data sets, in place of the config's, which is data by default."


@Parameter(name="*", group=HARDWARE)
@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeOptions(HardwareOptions):
    """Where and how a run computes."""

    amp: Annotated[bool, _Switch] = False
    "Compute hosts in mixed precision; for the policy see ppo.amp of a config."
    amp_dtype: AmpDtype | None = None
    "The narrower type of --amp. Default: bfloat16."


@Parameter(name="*", group=HARDWARE)
@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadOptions(ComputeOptions):
    """Where and how a run of many hosts computes."""

    devices: Annotated[list[str] | None, _Many] = None
    "Devices to spread hosts over, a process each, such as: cuda:0 cuda:1."
    workers: Annotated[int | None, _Whole] = None
    "Processes that hosts are spread over on a CPU, from 1. Default: one a core."
    num_workers: Annotated[int | None, _Whole] = None
    "Processes of a DataLoader. Default: 0, which on a CPU means no DataLoader."
    gpu_preload: Annotated[bool, _Switch] = False
    "Keep the data set in the GPU's memory."
    experimental_gpu_preload_gather: Annotated[bool, _Switch] = False
    "Gather batches there by index, without a DataLoader; on a CPU that is the default."


@Parameter(name="*", group=HARDWARE)
@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerOptions(SpreadOptions):
    """Where and how a run with a learner computes."""

    compile_mode: CompileMode | None = None
    "How to torch.compile the policy's update. Default: default, which a CPU does not compile."
    force_compile: Annotated[bool, _Switch] = False
    "Compile wherever the mode would not."


@Parameter(name="*", group=CHECKPOINTS)
@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointOptions:
    """What a run keeps of its policy, besides the checkpoints in its run directory."""

    save: Path | None = None
    "Also write the final checkpoint to this file."
    resume: Path | None = None
    "Go on from this checkpoint, with the config it holds."
    checkpoint_every: Annotated[int | None, _Whole] = None
    "Rounds between checkpoints; the first follows the first round. Default: 10."
    checkpoint_minutes: Annotated[float | None, _Number] = None
    "Also write one after a round when the last is older than this. Default: 2."
    checkpoint_keep: Annotated[int | None, _Whole] = None
    "How many of the newest checkpoints a run keeps; 0 keeps all. Default: 5."


@Parameter(name="*", group=TELEMETRY)
@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryOptions:
    """What a run writes and shows."""

    runs: Path = Path("runs")
    "Folder in which the run gets a directory of its own."
    telemetry_file: Path | None = None
    "Write the event log to this file."
    telemetry_dir: Path | None = None
    "Write the event log to a timestamped folder in this one."
    telemetry_level: TelemetryLevel | None = None
    "How much to log."
    telemetry_lifecycle_only: Annotated[bool, _Switch] = False
    "Keep lifecycle events whatever the level."
    no_tui: Annotated[bool, _Switch] = False
    "Print plain lines, also on a terminal."


@Parameter(name="*", group=COMPARISON)
@dataclass(frozen=True, slots=True, kw_only=True)
class DualOptions:
    """Two runs instead of one, and which is better."""

    dual_ab: str | None = None
    "Train a policy by each of two reward modes and compare them, such as: shaped-vs-simplified."
    ab_seeds: Annotated[int | None, _AbSeeds] = None


@Parameter(name="*", group=SCALE)
@dataclass(frozen=True, slots=True, kw_only=True)
class HeuristicOptions(SettingOptions):
    """How much a heuristic run trains, and on what."""

    episodes: Annotated[int | None, _Whole] = None
    "Hosts to train, one after another. Default: 1."
    max_epochs: Annotated[int | None, _Whole] = None
    "Epochs an episode lasts. Default: 75."
    max_batches: Annotated[int | None, _Whole] = None
    "Batches an epoch takes at most; 0 is all of them. Default: 50."
    task: str | None = None
    "Task to train on. Default: cifar10 where there is a GPU, else mnist1d_blind."
    seed: Annotated[int | None, _Whole] = None
    "Seed of the run. Default: 42."
    slots: Annotated[list[str] | None, _Many] = None
    "Slots to enable, such as: r0c0 r0c1. Default: the task's own."
    max_seeds: Annotated[int | None, _Whole] = None
    "Most seeds a host may hold at once, fossilized ones included."
    min_fossilize_improvement: Annotated[float | None, _Number] = None
    "Points of accuracy that a seed must exceed to be fossilized. Default: the task's."


@Parameter(name="*", group=TASKS)
@dataclass(frozen=True, slots=True, kw_only=True)
class TasksOptions:
    """What to tell of the tasks."""

    no_time: Annotated[bool, _Switch] = False
    "Do not measure what an epoch takes on this machine, which takes some seconds."


@Parameter(name="*", group=EVALUATION)
@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """What to compare, and on how much."""

    arms: Annotated[list[str] | None, _Many, _Arms] = None
    baseline: str | None = None
    "The arm that the others are compared with. Default: the first."
    task: str | None = None
    "Task to evaluate on. Default: the checkpoint's, else cifar10 on a GPU, mnist1d_blind on a CPU."
    seeds: Annotated[int, _Whole] = JUDGING_SEEDS
    "Hosts each arm grows, the same for all of them, and met by no training."
    range: Literal["tuning", "reporting"] = "tuning"
    "Which hosts: those to choose settings by, or those kept for the figures to publish."
    first_seed: Annotated[int, _Whole] = 0
    "Seeds of the range to skip, for hosts that earlier evaluations have not met."
    policy: Literal["sampled", "greedy"] = "sampled"
    "How checkpoints act: by sampling, as they were trained, or by the most probable choice."
    envs: Annotated[int | None, _Whole] = None
    "Hosts that train side by side. Default: the checkpoint's or the preset's."
    max_epochs: Annotated[int | None, _Whole] = None
    "Epochs an episode lasts. Default: the checkpoint's or the preset's."
    max_batches: Annotated[int | None, _Whole] = None
    "Batches an epoch takes at most; 0 is all of them. Default: the checkpoint's or the task's."
    out: Path | None = None
    "Folder for evaluation.json and evaluation.png. Default: a new one in evaluations."
