"""K hosts as a ``gymnasium.vector.VectorEnv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, MultiDiscrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from esper_leyline import Environment, RewardFunction, StepReport
from esper_tolaria.errors import TolariaError
from esper_tolaria.gym.checks import check_options, check_rows
from esper_tolaria.gym.lane import Lane
from esper_tolaria.gym.masks import ActionMasks, Mask
from esper_tolaria.gym.observations import Encode, Observer
from esper_tolaria.gym.seeds import SeedStream, spread_seeds

Step = tuple[
    NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
]


class HostVectorEnv(VectorEnv[NDArray[Any], NDArray[np.int64], NDArray[Any]]):
    """The K hosts of an ``Environment``, one epoch a step.

    Actions are [K, heads], one index a head in ``HEADS`` order. An episode is terminated at
    the horizon and by the governor, never truncated, and the next one begins in the same
    step. The hosts of an environment are reset together, so one that the governor stops is
    followed by a newborn host that waits, with nothing but WAIT open and a reward of 0,
    until the others' episodes have ended too. The environment is this one's from now on: it
    is reset to read a shape, and closed with it.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": [],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        environment: Environment,
        encode: Encode,
        reward: RewardFunction,
        observation_space: Box | None = None,
    ) -> None:
        """Joins an environment to an encoder and a reward.

        Args:
            environment: Trains the hosts; ``spec.environments`` is K.
            encode: Makes the observations of N reports, [N, ...].
            reward: Pays for each step.
            observation_space: Of one host; if not given, unbounded float32 of the shape
                that ``encode`` returns for a fresh host.

        Raises:
            TolariaError: If the encoder does not return one row a report.
        """
        self._environment = environment
        observer = Observer(encode, environment, observation_space)
        masks = ActionMasks(environment.spec)
        self._observe = observer
        self._sizes = masks.sizes
        self._newborn: tuple[StepReport, ...] = ()
        self.num_envs = environment.spec.environments
        self._lanes = tuple(Lane(masks, reward) for _ in range(self.num_envs))
        self._streams = tuple(SeedStream() for _ in range(self.num_envs))
        self.single_observation_space = observer.space
        self.observation_space = batch_space(observer.space, self.num_envs)
        self.single_action_space = MultiDiscrete(list(masks.sizes))
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    @property
    def reports(self) -> tuple[StepReport, ...]:
        """The reports that the last observations were made of, one a host."""
        self._check_started()
        return tuple(lane.report for lane in self._lanes)

    @property  # type: ignore[misc]
    def np_random(  # type: ignore[override]
        self,
    ) -> tuple[np.random.Generator, ...]:
        """The generators that the hosts' later seeds are drawn from, one a host."""
        return tuple(stream.generator for stream in self._streams)

    @property
    def np_random_seed(  # type: ignore[override]
        self,
    ) -> tuple[int, ...]:
        """What each of ``np_random`` was started with."""
        return tuple(stream.seed for stream in self._streams)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Starts an episode in every host.

        Args:
            seed: The first host's own seed, from which those of the others count up, or one
                a host; later episodes draw their seeds from it, each host apart.
            options: None are known.

        Raises:
            TolariaError: If there are not K seeds, one is no whole number, there are
                options, or the environment is closed.
        """
        self._check_open()
        check_options(options)
        seeds = spread_seeds(seed, self.num_envs)
        host_seeds = [stream.take(each) for stream, each in zip(self._streams, seeds, strict=True)]
        self._newborn = self._environment.reset(host_seeds)
        for lane, report in zip(self._lanes, self._newborn, strict=True):
            lane.begin(report)
        return self._observations(), self._infos({})

    def step(self, actions: NDArray[np.int64]) -> Step:
        """Carries out one action a host and trains each for one epoch.

        Args:
            actions: [K, heads], one index a head.

        Returns:
            Observations [K, ...], rewards [K], terminated [K], truncated [K] (all false),
            infos. Where an episode ended, the observation is that of the next one's
            start, and ``infos`` holds the last one as ``final_obs`` and ``final_info``.

        Raises:
            TolariaError: If the actions have another shape or an index outside its head,
                ``reset`` was not called, or the environment is closed.
        """
        self._check_started()
        rows = check_rows(actions, self.num_envs, self._sizes)
        chosen = [lane.choose(row) for lane, row in zip(self._lanes, rows, strict=True)]
        reports = self._environment.step(chosen)
        rewards = np.array(
            [lane.take(report) for lane, report in zip(self._lanes, reports, strict=True)]
        )
        terminated = np.array([lane.over for lane in self._lanes])
        infos = self._finals(np.flatnonzero(terminated).tolist())
        if terminated.any():
            self._renew()
        truncated = np.zeros(self.num_envs, dtype=np.bool_)
        return self._observations(), rewards, terminated, truncated, self._infos(infos)

    def action_masks(self) -> Mask:
        """Returns the open choices of all heads, [K, sum of head sizes] bool.

        Raises:
            TolariaError: If ``reset`` was not called, or the environment is closed.
        """
        self._check_started()
        return np.stack([lane.mask() for lane in self._lanes])

    def close_extras(self) -> None:
        """Closes the environment."""
        self._environment.close()

    def _renew(self) -> None:
        """Begins the next episodes of the lanes that are over, at once or after waiting."""
        for index, lane in enumerate(self._lanes):
            if lane.over:
                # Newborn hosts are alike but for their seeds until they are trained.
                newborn = replace(self._newborn[index], seed=self._streams[index].take(None))
                lane.begin(newborn, waiting=True)
        if all(lane.waiting for lane in self._lanes):
            self._newborn = self._environment.reset([lane.report.seed for lane in self._lanes])
            for lane, report in zip(self._lanes, self._newborn, strict=True):
                lane.wake(report)

    def _finals(self, ended: Sequence[int]) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        if ended:
            rows = self._observe([self._lanes[index].report for index in ended])
            for index, row in zip(ended, rows, strict=True):
                final = {"final_obs": row, "final_info": self._lanes[index].info()}
                infos = self._add_info(infos, final, index)
        return infos

    def _infos(self, infos: dict[str, Any]) -> dict[str, Any]:
        for index, lane in enumerate(self._lanes):
            infos = self._add_info(infos, lane.info(), index)
        return infos

    def _observations(self) -> NDArray[Any]:
        return self._observe(self.reports)

    def _check_open(self) -> None:
        if self.closed:
            raise TolariaError("this environment is closed; build a new one")

    def _check_started(self) -> None:
        self._check_open()
        if not self._newborn:
            raise TolariaError("no episode is under way; call reset first")
