"""What the hosts of an environment are built from; sent to worker processes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from esper_leyline import (
    EnvironmentSpec,
    HostOptions,
    HostTraining,
    MorphogeneticHost,
    TaskSpec,
    TrainingConfig,
    check_slots,
)
from esper_leyline.ports import HostFactory
from esper_leyline.profiles import Profile
from esper_leyline.specs.tasks import check_blueprints
from esper_tolaria.errors import TolariaError


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What all fresh hosts of a setup have in common.

    Attributes:
        parameters: Number of trainable parameters.
        stacks: Whether hosts are computed together on a CPU.
    """

    parameters: int
    stacks: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSetup:
    """A task, a configuration and a host factory.

    Attributes:
        task: What the hosts are and learn; its blueprints are those that the run allows.
        config: The configuration of the run.
        host_factory: Builds hosts; importable by name where worker processes are used.
        slots: The enabled slots, row-major.
        profile: What is measured on hosts for telemetry; ``None`` for nothing.
    """

    task: TaskSpec
    config: TrainingConfig
    host_factory: HostFactory
    slots: tuple[str, ...]
    profile: Profile | None = None

    @property
    def training(self) -> HostTraining:
        """How hosts train: the configuration's settings, or else the task's."""
        return self.config.host or self.task.training

    def build_host(self, rng_seed: int, device: torch.device) -> MorphogeneticHost:
        """Builds the host of a random seed on a device, without seeds."""
        options = HostOptions(
            slots=self.slots,
            rules=self.config.lifecycle,
            max_seeds=self.config.max_seeds,
            rng_seed=rng_seed,
        )
        host = self.host_factory(self.task.host, options)
        if device.type != "cpu":
            host.to(device)
        return host

    def find_host_facts(self) -> HostFacts:
        """Builds one host to find what all fresh hosts have in common."""
        host = self.build_host(0, torch.device("cpu"))
        return HostFacts(
            parameters=host.parameter_counts().host,
            stacks=not self.config.amp and host.stack(()) is not None,
        )

    def environment_spec(self, host_parameters: int) -> EnvironmentSpec:
        """Returns the sizes and names that a policy is built for."""
        return EnvironmentSpec(
            environments=self.config.n_envs,
            max_epochs=self.config.max_epochs,
            slots=self.slots,
            topology=self.task.host.topology,
            blueprints=self.task.blueprints,
            styles=self.task.styles,
            host_parameters=host_parameters,
        )


def make_setup(
    task: TaskSpec,
    config: TrainingConfig,
    host_factory: HostFactory,
    profile: Profile | None = None,
) -> HostSetup:
    """Combines a task and a configuration.

    Args:
        task: What the hosts are and learn.
        config: Its ``blueprints`` replace those of the task.
        host_factory: Builds hosts; a top-level function where worker processes are used.
        profile: What to measure on hosts for telemetry; ``None`` for nothing.

    Raises:
        TolariaError: If ``check_task`` refuses the configuration.
    """
    slots = check_task(task, config)
    if config.blueprints is not None:
        task = task.model_copy(update={"blueprints": config.blueprints})
    return HostSetup(
        task=task, config=config, host_factory=host_factory, slots=slots, profile=profile
    )


def check_task(task: TaskSpec, config: TrainingConfig) -> tuple[str, ...]:
    """Checks that a configuration fits a task, and returns the enabled slots.

    Raises:
        TolariaError: If the configuration enables slots that the host does not offer, allows
            blueprints that do not fit the host, or augments data that is not images.
    """
    wanted = task.slots if config.slots is None else config.slots
    try:
        slots = check_slots(wanted, task.host.slots)
        check_blueprints(config.blueprints or task.blueprints, task.host.topology)
    except ValueError as error:
        raise TolariaError(f"task '{task.name}': {error}") from None
    shape, training = task.data.input_shape, config.host or task.training
    if len(shape) != 3 and not training.augmentation.changes_nothing:
        raise TolariaError(
            f"task '{task.name}' has rows of shape {shape}, and augmentation is for images "
            "of three axes; set host.augmentation to its defaults"
        )
    return slots
