"""Arms of an evaluation: controllers by name, and policies by checkpoint."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from esper_leyline import (
    CheckpointManifest,
    Controller,
    EnvironmentSpec,
    show_text,
    unknown_name,
)
from esper_leyline.numbers import parse_whole
from esper_simic.evaluation import Budget, ControllerFactory
from esper_tamiyo import (
    CONTROLLERS,
    HeuristicController,
    PolicyController,
    RandomMaskedController,
    RecurrentPolicy,
    ScheduleConfig,
    ScheduleController,
    StaticController,
)
from esper_train.checkpoints.contents import align_state
from esper_train.checkpoints.files import SUFFIX, load_checkpoint
from esper_train.commands.heuristic import heuristic_rules
from esper_train.errors import TrainError
from esper_train.settings.resolve import Plan

SCHEDULE = "schedule"
STATIC = "static"
SCRATCH = "scratch"

BUDGETS: Mapping[str, Budget] = {SCRATCH: "epochs", f"{SCRATCH}-flops": "flops"}
"""Arms from scratch, and which cost of the copied arm each matches."""

Rule = Callable[[EnvironmentSpec, Plan], Controller]
"""Builds a controller for a host of a run."""


class Arm(Protocol):
    """A way to decide for hosts."""

    @property
    def name(self) -> str:
        """The arm as given on the command line."""

    @property
    def label(self) -> str:
        """Its name in tables and plots."""

    def prepare(self, spec: EnvironmentSpec, run: Plan, *, greedy: bool) -> ControllerFactory:
        """Returns a function that builds a controller for one host of a run.

        Raises:
            EsperError: If the arm does not fit the environment.
        """


@dataclass(frozen=True, slots=True)
class RuleArm:
    """A controller by name."""

    name: str
    label: str
    rule: Rule

    def prepare(self, spec: EnvironmentSpec, run: Plan, *, greedy: bool) -> ControllerFactory:  # noqa: ARG002
        """Builds a controller to check that it can be built, and returns its factory."""
        self.rule(spec, run)
        return lambda spec: self.rule(spec, run)


@dataclass(frozen=True, slots=True)
class CheckpointArm:
    """A policy from a checkpoint."""

    name: str
    label: str
    manifest: CheckpointManifest
    state: Mapping[str, Any]

    def prepare(self, spec: EnvironmentSpec, run: Plan, *, greedy: bool) -> ControllerFactory:
        """Builds the policy, which all controllers share."""
        config = self.manifest.config
        policy = RecurrentPolicy(spec, config.policy, critic=config.ppo.critic)
        unknown = [name for name in spec.blueprints if name not in self.manifest.blueprints]
        if unknown:
            raise TrainError(
                f"checkpoint '{self.name}' has a policy without blueprint '{unknown[0]}', which "
                f"the hosts may grow; remove it from the blueprints, or train with it first"
            )
        state = align_state(self.state, self.manifest.blueprints, policy)
        try:
            policy.load_state_dict(state["policy"])
        except (KeyError, RuntimeError):
            raise TrainError(
                f"checkpoint '{self.name}' holds no policy for {len(spec.slots)} slots"
            ) from None
        policy.to(run.config.device)
        return lambda _: PolicyController(policy, greedy=greedy)


@dataclass(frozen=True, slots=True)
class ScratchArm:
    """Hosts that start with the seeds that another arm ended with; see ``scratch``.

    Attributes:
        copies: Name or label of that arm; ``None``: the evaluation chooses.
        budget: Which cost of that arm is matched.
    """

    name: str
    label: str
    copies: str | None
    budget: Budget

    def prepare(self, spec: EnvironmentSpec, run: Plan, *, greedy: bool) -> ControllerFactory:  # noqa: ARG002
        """Returns the factory of a controller that only waits: the host is complete."""
        return lambda _: StaticController()


_RULES: Mapping[str, Rule] = {
    STATIC: lambda _spec, _run: StaticController(),
    "random": lambda spec, _run: RandomMaskedController(spec),
    SCHEDULE: lambda spec, _run: ScheduleController(spec),
    "heuristic": lambda spec, run: HeuristicController(spec, heuristic_rules(run.task, run.config)),
}

DEFAULT_ARMS = tuple(_RULES)

_IN_FOLDERS = tuple(f"{folder}*{SUFFIX}" for folder in ("", "checkpoints/", "*/checkpoints/"))
"""Places of checkpoints in a folder of them, a run directory, and a folder of runs."""

_LABELLED = re.compile(r"(?P<label>[\w.-]+)=(?P<arm>.+)")


def read_arms(names: Sequence[str]) -> tuple[Arm, ...]:
    """Parses the names of arms, and reads the checkpoints among them.

    Raises:
        EsperError: If one is unknown, unusable, or given twice.
    """
    if not names:
        raise TrainError(f"no arms; give some of {_allowed()}")
    given = [_split(name) for name in names]
    _check_repeats("arm", [name for _, name in given])
    stems = Counter(Path(name).stem for _, name in given if name.partition(":")[0] not in BUDGETS)
    arms = tuple(_read(name, label, stems) for label, name in given)
    _check_repeats("label", [arm.label for arm in arms])
    return arms


def _split(name: str) -> tuple[str | None, str]:
    """Splits ``heavy=schedule:every=1`` into label and arm, unless it is an existing file."""
    match = _LABELLED.fullmatch(name)
    if match is None or Path(name).exists():
        return None, name
    return match["label"], match["arm"]


def _check_repeats(what: str, names: Sequence[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise TrainError(f"{what} '{name}' is given {times} times; give each once")


def _read(name: str, label: str | None, stems: Counter[str]) -> Arm:
    if name in _RULES:
        return RuleArm(name, label or name, _RULES[name])
    if name in CONTROLLERS:
        build = CONTROLLERS.get(name)
        return RuleArm(name, label or name, lambda spec, _run: build(spec))
    kind, colon, settings = name.partition(":")
    if kind == SCHEDULE and colon:
        config = _schedule(settings)
        return RuleArm(name, label or name, lambda spec, _run: ScheduleController(spec, config))
    if kind in BUDGETS:
        stem = Path(settings).stem if settings.endswith(SUFFIX) else settings
        known = f"{kind}:{stem if stems[stem] <= 1 else settings}" if colon else kind
        return ScratchArm(name, label or known, settings if colon else None, BUDGETS[kind])
    return _read_checkpoint(name, label, stems)


def _read_checkpoint(name: str, label: str | None, stems: Counter[str]) -> CheckpointArm:
    path = Path(name)
    if path.is_dir():
        found = sorted(each for pattern in _IN_FOLDERS for each in path.glob(pattern))
        hint = f", such as {found[-1]}" if found else ""
        raise TrainError(f"arm '{name}' is a folder; name a checkpoint{hint}")
    if not path.exists() and not path.suffix and len(path.parts) == 1:
        known = (*DEFAULT_ARMS, *CONTROLLERS.names(), *BUDGETS)
        raise TrainError(f"{unknown_name('arm', name, known)}, or the path of a checkpoint")
    manifest, state = load_checkpoint(path)
    stem = path.stem
    return CheckpointArm(name, label or (stem if stems[stem] == 1 else name), manifest, state)


def _schedule(settings: str) -> ScheduleConfig:
    """Reads ``every=4,train=5,blueprint=conv_light``."""
    values: dict[str, Any] = {}
    names = [field.name for field in fields(ScheduleConfig)]
    for setting in settings.split(","):
        key, _, value = setting.partition("=")
        if key not in names:
            raise TrainError(unknown_name("setting of a schedule", key, names))
        if key in values:
            raise TrainError(f"'{key}' of a schedule is given twice; give it once")
        values[key] = value if key == "blueprint" else _epochs(key, value)
    return ScheduleConfig(**values)


def _epochs(key: str, value: str) -> int:
    try:
        return parse_whole(value)
    except ValueError:
        message = (
            f"'{key}' of a schedule is '{show_text(value)}'; give a number of epochs, as in {key}=5"
        )
        raise TrainError(message) from None


def _allowed() -> str:
    return f"{', '.join((*DEFAULT_ARMS, *CONTROLLERS.names(), *BUDGETS))}, or a checkpoint's path"
