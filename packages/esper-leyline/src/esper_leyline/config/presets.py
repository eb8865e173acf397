"""Ready configurations by name; each function returns a whole one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from esper_leyline.actions import HEADS
from esper_leyline.config.training import PolicyConfig, PPOConfig, RewardConfig, TrainingConfig
from esper_leyline.errors import ConfigError, unknown_name
from esper_leyline.lifecycle.gates import LifecycleRules


def cifar10() -> TrainingConfig:
    """The defaults of the reference: CIFAR-10, 100 rounds of 4 hosts of 150 epochs."""
    return TrainingConfig(task="cifar10")


def cifar10_stable() -> TrainingConfig:
    """CIFAR-10 with slower, more reliable updates."""
    ppo = PPOConfig(
        learning_rate=1e-4,
        clip=0.1,
        entropy_coefficient=0.06,
        entropy_final=0.03,
        entropy_anneal_episodes=200,
    )
    return TrainingConfig(task="cifar10", ppo=ppo)


def cifar10_deep() -> TrainingConfig:
    """CIFAR-10 on a five-block host."""
    return TrainingConfig(task="cifar10_deep")


def cifar10_blind() -> TrainingConfig:
    """CIFAR-10 on a host that cannot see space until a seed gives it eyes."""
    return TrainingConfig(task="cifar10_blind")


def tinystories() -> TrainingConfig:
    """Language modelling on TinyStories with a six-layer GPT."""
    return TrainingConfig(task="tinystories")


def mnist1d() -> TrainingConfig:
    """MNIST-1D on a host that sees five points at a time."""
    return _small("mnist1d")


def mnist1d_blind() -> TrainingConfig:
    """MNIST-1D on a blind host: the whole loop on a CPU in about three minutes."""
    return _small("mnist1d_blind")


def mnist1d_shuffled() -> TrainingConfig:
    """MNIST-1D with its points out of order: the control in which wider kernels are no help."""
    return _small("mnist1d_shuffled")


def digits() -> TrainingConfig:
    """Handwritten digits of 8 by 8 pixels on a small MLP."""
    return _small("digits")


def fashion_mnist() -> TrainingConfig:
    """Fashion-MNIST on a small CNN."""
    return _small("fashion_mnist")


def fashion_mnist_blind() -> TrainingConfig:
    """Fashion-MNIST on a host that cannot see shape until a seed gives it eyes."""
    return _small("fashion_mnist_blind")


def topics() -> TrainingConfig:
    """Language modelling, byte by byte, on Python's own help texts."""
    return _small("topics")


def _small(task: str) -> TrainingConfig:
    """Settings with which a policy learns from few, short and cheap episodes.

    With episodes of 18 epochs and 120 of them in a run there is no time to learn every
    decision: gates G1 to G3 open by themselves, so that the policy learns when to
    germinate what, what to prune and what to fossilize. Sizes, floors and learning rate
    are those of a small network that must learn from thirty updates.

    Contributions tell how much a host leans on a seed, which is much for every blueprint,
    so they hardly tell a good one from a bad one; the accuracy that an episode ends with
    does, and weighs ten times as much as by default. A good blueprint shows late and is
    rare at first, so that head keeps its entropy longer than the others.
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


PRESETS: Mapping[str, Callable[[], TrainingConfig]] = MappingProxyType(
    {
        "cifar10": cifar10,
        "cifar10_stable": cifar10_stable,
        "cifar10_deep": cifar10_deep,
        "cifar10_blind": cifar10_blind,
        "tinystories": tinystories,
        "mnist1d": mnist1d,
        "mnist1d_blind": mnist1d_blind,
        "mnist1d_shuffled": mnist1d_shuffled,
        "digits": digits,
        "fashion_mnist": fashion_mnist,
        "fashion_mnist_blind": fashion_mnist_blind,
        "topics": topics,
    }
)
"""Every preset by the name that ``--preset`` takes."""


def preset(name: str) -> TrainingConfig:
    """Returns a preset's configuration.

    Raises:
        ConfigError: If there is no preset of that name.
    """
    if name not in PRESETS:
        raise ConfigError(unknown_name("preset", name, PRESETS))
    return PRESETS[name]()
