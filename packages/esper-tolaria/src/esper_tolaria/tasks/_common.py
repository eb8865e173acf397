"""What a task consists of, and what several tasks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from esper_leyline import (
    HEADS,
    BlendStyle,
    DataSpec,
    HostSpec,
    HostTraining,
    LifecycleRules,
    PolicyConfig,
    PPOConfig,
    RewardConfig,
    TaskSpec,
    TrainingConfig,
)
from esper_leyline.actions import TOPOLOGY_BLUEPRINTS

if TYPE_CHECKING:
    from esper_tolaria.datasets.splits import Dataset


def _no_files_needed(_root: Path) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task: what is trained on what, and the settings that suit it.

    Attributes:
        spec: Host, data and training settings; ``spec.name`` is the task's name.
        preset: Returns the run configuration named like the task.
        load: Returns the data of a spec, from files under a root folder if it needs any.
        is_here: Whether those files exist under a root folder.
        fetch: Downloads them to a root folder; ``None`` if there is nothing to download.
        more_presets: Further run configurations for this task, by name.
    """

    spec: TaskSpec
    preset: Callable[[], TrainingConfig]
    load: Callable[[DataSpec, Path], Dataset]
    is_here: Callable[[Path], bool] = _no_files_needed
    fetch: Callable[[Path], None] | None = None
    more_presets: Mapping[str, Callable[[], TrainingConfig]] = field(default_factory=dict)

    @property
    def presets(self) -> dict[str, Callable[[], TrainingConfig]]:
        """Every preset of the task by name."""
        return {self.spec.name: self.preset, **self.more_presets}


def describe_task(
    name: str,
    *,
    description: str,
    host: HostSpec,
    data: DataSpec,
    training: HostTraining,
    styles: tuple[BlendStyle, ...] = tuple(BlendStyle),
    min_fossilize_improvement: float = 0.5,
) -> TaskSpec:
    """Describes a task that enables every slot of its host and every blueprint that fits.

    Args:
        name: Name of the task.
        description: What it is, in one line.
        host: The network that is trained and grown.
        data: What it learns.
        training: How it is trained.
        styles: The allowed blend styles; all by default.
        min_fossilize_improvement: Points of accuracy that a seed must add to be fossilized.
    """
    return TaskSpec(
        name=name,
        description=description,
        host=host,
        data=data,
        training=training,
        slots=host.slots,
        blueprints=TOPOLOGY_BLUEPRINTS[host.topology],
        styles=styles,
        min_fossilize_improvement=min_fossilize_improvement,
    )


def small_preset(task: str) -> TrainingConfig:
    """Returns settings with which a policy learns from few, short and cheap episodes.

    120 episodes of 18 epochs are too few to learn every decision. Gates G1 to G3 therefore open
    automatically, and the policy learns what to germinate and when, what to prune and what to
    fossilize. Network sizes, floors and learning rate suit a small policy and thirty updates.

    A contribution is the accuracy that a host loses without a seed. It is large for every
    blueprint, so it hardly separates good ones from bad ones; the accuracy at the end of the
    episode does, and has ten times its default weight. Good blueprints are rare at first and
    their effect is late, so the blueprint head gets a larger entropy bonus than the others.
    """
    return TrainingConfig(
        task=task,
        n_episodes=30,
        n_envs=4,
        max_epochs=18,
        lifecycle=LifecycleRules(auto_forward_g1=True, auto_forward_g2=True, auto_forward_g3=True),
        reward=RewardConfig(terminal_accuracy_weight=30.0),
        ppo=PPOConfig(
            epochs=10,
            learning_rate=2e-3,
            entropy_coefficient=0.02,
            entropy_multipliers={"blueprint": 3.0},
            target_kl=0.03,
        ),
        policy=PolicyConfig(
            feature_size=64,
            memory_size=64,
            floors={head: 0.03 if head == "op" else 0.05 for head in HEADS},
        ),
    )
