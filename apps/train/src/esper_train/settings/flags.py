"""Flags made from the models of the configuration: every field of ``TrainingConfig`` is one.

The name of a flag is the dotted key of its field with dashes: ``ppo.clip`` is ``--ppo-clip``. A
few common ones have a shorter name. Help, range and choices come from the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from cyclopts import Group, Parameter
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from esper_leyline import TrainingConfig
from esper_leyline.numbers import read_number, read_whole

Function = TypeVar("Function", bound=Callable[..., object])

SHORT_NAMES: Mapping[str, str] = {
    "n_envs": "envs",
    "policy.memory_size": "memory-size",
    "ppo.entropy_anneal_episodes": "entropy-anneal-episodes",
    "host.max_batches": "max-batches",
    "heuristic.min_fossilize_improvement": "min-fossilize-improvement",
    "feed.num_workers": "num-workers",
    "feed.gpu_preload": "gpu-preload",
    "feed.gpu_preload_gather": "experimental-gpu-preload-gather",
    "compile.force": "force-compile",
    "checkpoints.every": "checkpoint-every",
    "checkpoints.minutes": "checkpoint-minutes",
    "checkpoints.keep": "checkpoint-keep",
    "rng_seed": "seed",
}
"""Names of flags that differ from their keys."""

SET_BY_PRESETS = frozenset(
    {
        *("task", "n_episodes", "n_envs", "max_epochs"),
        *("lifecycle.auto_forward_g1", "lifecycle.auto_forward_g2", "lifecycle.auto_forward_g3"),
        *("reward.terminal_accuracy_weight", "policy.feature_size", "policy.memory_size"),
        *("policy.floors", "ppo.epochs", "ppo.learning_rate", "ppo.clip", "ppo.target_kl"),
        *("ppo.entropy_coefficient", "ppo.entropy_final", "ppo.entropy_anneal_episodes"),
        "ppo.entropy_multipliers",
    }
)
"""Keys that some preset sets; reading the presets themselves would load torch for ``--help``."""

PATHS = frozenset({"data_root"})
"""Texts that are paths."""

SCALE = Group("Training scale", sort_key=1)
CONFIG = Group("Config and presets", sort_key=2)
HARDWARE = Group("Hardware and data", sort_key=3)
CHECKPOINTS = Group("Checkpoints", sort_key=4)
TELEMETRY = Group("Telemetry and monitoring", sort_key=5)

_GROUPS: Mapping[str, Group] = {
    **dict.fromkeys(("n_episodes", "n_envs", "max_epochs", "host.max_batches"), SCALE),
    **dict.fromkeys(("ppo.epochs", "policy.memory_size", "ppo.entropy_anneal_episodes"), SCALE),
    **dict.fromkeys(("device", "devices", "workers", "data_root", "amp", "amp_dtype"), HARDWARE),
    **dict.fromkeys(("feed", "compile"), HARDWARE),
    "checkpoints": CHECKPOINTS,
    "telemetry": TELEMETRY,
    "ppo": Group("PPO", sort_key=10),
    "policy": Group("Policy", sort_key=11),
    "reward": Group("Reward", sort_key=12),
    "lifecycle": Group("Lifecycle and gates", sort_key=13),
    "governor": Group("Governor", sort_key=14),
    "counterfactuals": Group("Counterfactuals", sort_key=15),
    "host": Group("Training of hosts", sort_key=16),
    "heuristic": Group("Heuristic", sort_key=17),
}
"""Groups of the help by key or by section; all other keys are in ``CONFIG``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One field of the configuration.

    Attributes:
        key: Its dotted key.
        kind: Its type without ``None``: a number, ``bool``, ``str``, a ``Literal``, or a tuple or
            dict of these.
        default: The default of the model.
        description: The description of the model.
        range: Its range in words, such as ``from 1 to 1,000`` or ``above 0, below 1``.
    """

    key: str
    kind: Any
    default: Any
    description: str
    range: str | None = None


@cache
def settings() -> Mapping[str, Setting]:
    """Returns every field of ``TrainingConfig`` by its dotted key."""
    return {each.key: each for each in _walk(TrainingConfig)}


def _walk(model: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    for name, info in model.model_fields.items():
        kind = _without_none(info.annotation)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _walk(kind, f"{prefix}{name}.")
        else:
            yield _setting(f"{prefix}{name}", kind, info)


def _setting(key: str, annotation: Any, info: FieldInfo) -> Setting:
    kind, limits = _strip(annotation)
    return Setting(
        key=key,
        kind=kind,
        default=info.get_default(call_default_factory=True),
        description=info.description or "",
        range=_range(kind, [*limits, *info.metadata]),
    )


def _range(kind: Any, limits: Sequence[Any]) -> str | None:
    """Returns the range that pydantic checks in words; a later limit overrides an earlier one."""
    low = next((each for each in reversed(limits) if isinstance(each, Ge | Gt)), None)
    high = next((each for each in reversed(limits) if isinstance(each, Le | Lt)), None)
    if low is None or high is None:
        return None
    if kind is int and isinstance(high, Lt):
        high = Le(high.lt - 1)  # type: ignore[operator] # of an integer
    start = f"from {_plain(low.ge)}" if isinstance(low, Ge) else f"above {_plain(low.gt)}"
    if isinstance(high, Lt):
        return f"{start}, below {_plain(high.lt)}"
    return f"{start}{' to' if isinstance(low, Ge) else ', at most'} {_plain(high.le)}"


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        (found,) = [each for each in get_args(annotation) if each is not NoneType]
        return found
    return annotation


def _strip(annotation: Any) -> tuple[Any, list[Any]]:
    """Returns the plain type of an ``Annotated`` one, and its metadata."""
    if get_origin(annotation) is not Annotated:
        return annotation, []
    kind, *metadata = get_args(annotation)
    return kind, [each for one in metadata for each in getattr(one, "metadata", [one])]


def _plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


@dataclass(frozen=True)
class SettingFlags:
    """Base of the generated options; each field has its key in its metadata."""


def make_flags(
    name: str,
    keys: Sequence[str],
    *,
    short: Mapping[str, str] | None = None,
    helps: Mapping[str, str] | None = None,
    group: Group | None = None,
) -> type[Any]:
    """Makes the options of a command from fields of the configuration.

    Args:
        name: Name of the class.
        keys: Dotted keys of fields or sections; a section stands for all fields in it.
        short: Names of this command's flags that differ from their keys.
        helps: Help texts in place of the field's description and default.
        group: The group of all flags, in place of one for each component.

    Returns:
        A frozen dataclass; a field is called as its flag, with underscores, and ``None`` if the
        flag is not given.
    """
    names = {**SHORT_NAMES, **(short or {})}
    chosen = [
        each
        for each in settings().values()
        if any(f"{each.key}.".startswith(f"{key}.") for key in keys)
    ]
    fields = []
    for each in chosen:
        flag = names.get(each.key, re.sub(r"[._]", "-", each.key))
        help_text = (helps or {}).get(each.key) or help_of(each)
        kind, parameter = _parameter(each)
        annotation: Any = Annotated[
            kind | None,
            parameter,
            Parameter(name=f"--{flag}", help=help_text, group=group or _group(each.key)),
        ]
        fields.append(
            (flag.replace("-", "_"), annotation, field(default=None, metadata={"key": each.key}))
        )
    made = make_dataclass(
        name,
        fields,
        bases=(SettingFlags,),
        frozen=True,
        kw_only=True,
        namespace={"__module__": __name__},
    )
    return Parameter(name="*")(made)


def with_flags(**classes: type[Any]) -> Callable[[Function], Function]:
    """Annotates parameters of a command, or fields of its options, with generated classes.

    A type checker cannot see these.
    """

    def annotate(function: Function) -> Function:
        function.__annotations__.update(classes)
        return function

    return annotate


def help_of(setting: Setting) -> str:
    """Returns the help text of a field: its description, its range and its default."""
    parts = [setting.description]
    if setting.range is not None:
        parts.append(f"{setting.range[0].upper()}{setting.range[1:]}.")
    if setting.key.startswith("host."):
        parts.append("Default: the task's.")
    elif setting.key in SET_BY_PRESETS:
        parts.append("Default: the preset's.")
    elif setting.default not in (None, (), {}):
        parts.append(f"Default: {show_default(setting)}.")
    return " ".join(parts)


def show_default(setting: Setting) -> str:
    """Returns the model's default as a user writes it."""
    value = setting.default
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={number:g}" for name, number in value.items())
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return _plain(value) if isinstance(value, int | float) else str(value)


def _group(key: str) -> Group:
    return _GROUPS.get(key) or _GROUPS.get(key.partition(".")[0], CONFIG)


def _parameter(setting: Setting) -> tuple[Any, Parameter]:
    """Returns the type that cyclopts reads a field as, and how."""
    kind = setting.kind
    if kind is bool:
        return bool, Parameter()
    if kind is int:
        return int, Parameter(converter=read_whole)
    if kind is float:
        return float, Parameter(converter=read_number)
    many = Parameter(consume_multiple=(1, None), negative_iterable=())
    if get_origin(kind) is tuple:
        inner, _ = _strip(get_args(kind)[0])
        return list[inner], many  # type: ignore[valid-type] # known at run time
    if get_origin(kind) is dict:
        return list[str], many
    assert kind is str or get_origin(kind) is Literal, setting
    return Path if setting.key in PATHS else kind, Parameter()
