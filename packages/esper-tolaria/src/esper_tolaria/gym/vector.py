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
from esper_tolaria.gym.masks import ActionMasks, Mask
from esper_tolaria.gym.observations import Encode, Observer
from esper_tolaria.gym.seeds import SeedStream, spread_seeds
from esper_tolaria.gym.tracker import EpisodeTracker

Step = tuple[
    NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
]


class HostVectorEnv(VectorEnv[NDArray[Any], NDArray[np.int64], NDArray[Any]]):
    """The K hosts of an ``Environment``, one epoch a step.

    Actions are [K, heads], one index per head in ``HEADS`` order. An episode is terminated at
    the horizon and by the governor, never truncated, and the next one begins in the same
    step. The hosts of an environment are reset together, so one that the governor stops is
    followed by a fresh host that waits until the other episodes have ended too. Only WAIT is
    valid then, and the reward is 0. This object owns the environment: it resets it to read a
    shape, and closes it.
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
        """Wraps an environment with an encoder and a reward.

        Args:
            environment: Trains the hosts; ``spec.environments`` is K.
            encode: Returns the observations of N reports, [N, ...].
            reward: Computes the reward of each step.
            observation_space: Of one host; if not given, unbounded float32 of the shape
                that ``encode`` returns for a fresh host.

        Raises:
            TolariaError: If the encoder does not return one row per report.
        """
        self._environment = environment
        observer = Observer(encode, environment, observation_space)
        masks = ActionMasks(environment.spec)
        self._observe = observer
        self._sizes = masks.sizes
        self._fresh: tuple[StepReport, ...] = ()
        self.num_envs = environment.spec.environments
        self._trackers = tuple(EpisodeTracker(masks, reward) for _ in range(self.num_envs))
        self._streams = tuple(SeedStream() for _ in range(self.num_envs))
        self.single_observation_space = observer.space
        self.observation_space = batch_space(observer.space, self.num_envs)
        self.single_action_space = MultiDiscrete(list(masks.sizes))
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    @property
    def reports(self) -> tuple[StepReport, ...]:
        """The reports of the last observations, one per host."""
        self._check_started()
        return tuple(tracker.report for tracker in self._trackers)

    @property  # type: ignore[misc]
    def np_random(  # type: ignore[override]
        self,
    ) -> tuple[np.random.Generator, ...]:
        """The generators of the hosts' later random seeds, one per host."""
        return tuple(stream.generator for stream in self._streams)

    @property
    def np_random_seed(  # type: ignore[override]
        self,
    ) -> tuple[int, ...]:
        """The seed of each generator in ``np_random``."""
        return tuple(stream.seed for stream in self._streams)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Starts an episode in every host.

        Args:
            seed: The first host's random seed, to which the index is added for the others, or one
                per host. Each host draws the seeds of its later episodes from its own.
            options: Must be empty.

        Raises:
            TolariaError: If there are not K seeds, one is not a whole number, there are
                options, or the environment is closed.
        """
        self._check_open()
        check_options(options)
        seeds = spread_seeds(seed, self.num_envs)
        host_seeds = [stream.take(each) for stream, each in zip(self._streams, seeds, strict=True)]
        self._fresh = self._environment.reset(host_seeds)
        for tracker, report in zip(self._trackers, self._fresh, strict=True):
            tracker.begin(report)
        return self._observations(), self._infos({})

    def step(self, actions: NDArray[np.int64]) -> Step:
        """Applies one action per host and trains each host for one epoch.

        Args:
            actions: [K, heads], one index per head.

        Returns:
            Observations [K, ...], rewards [K], terminated [K], truncated [K] (all false),
            infos. If an episode ended, the observation is the first of the next one, and
            ``infos`` holds the last of the old one as ``final_obs`` and ``final_info``.

        Raises:
            TolariaError: If the actions have another shape or an index outside its head,
                ``reset`` was not called, or the environment is closed.
        """
        self._check_started()
        rows = check_rows(actions, self.num_envs, self._sizes)
        chosen = [tracker.choose(row) for tracker, row in zip(self._trackers, rows, strict=True)]
        reports = self._environment.step(chosen)
        pairs = zip(self._trackers, reports, strict=True)
        rewards = np.array([tracker.record_step(report) for tracker, report in pairs])
        terminated = np.array([tracker.over for tracker in self._trackers])
        infos = self._finals(np.flatnonzero(terminated).tolist())
        if terminated.any():
            self._reset_ended()
        truncated = np.zeros(self.num_envs, dtype=np.bool_)
        return self._observations(), rewards, terminated, truncated, self._infos(infos)

    def action_masks(self) -> Mask:
        """Returns the valid choices of all heads, [K, sum of head sizes] bool.

        Raises:
            TolariaError: If ``reset`` was not called, or the environment is closed.
        """
        self._check_started()
        return np.stack([tracker.mask() for tracker in self._trackers])

    def close_extras(self) -> None:
        """Closes the environment."""
        self._environment.close()

    def _reset_ended(self) -> None:
        """Starts the next episode of hosts whose episode ended, at once or after waiting."""
        for index, tracker in enumerate(self._trackers):
            if tracker.over:
                # Before training, reports of fresh hosts differ only in the random seed.
                fresh = replace(self._fresh[index], rng_seed=self._streams[index].take(None))
                tracker.begin(fresh, waiting=True)
        if all(tracker.waiting for tracker in self._trackers):
            seeds = [tracker.report.rng_seed for tracker in self._trackers]
            self._fresh = self._environment.reset(seeds)
            for tracker, report in zip(self._trackers, self._fresh, strict=True):
                tracker.stop_waiting(report)

    def _finals(self, ended: Sequence[int]) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        if ended:
            rows = self._observe([self._trackers[index].report for index in ended])
            for index, row in zip(ended, rows, strict=True):
                final = {"final_obs": row, "final_info": self._trackers[index].info()}
                infos = self._add_info(infos, final, index)
        return infos

    def _infos(self, infos: dict[str, Any]) -> dict[str, Any]:
        for index, tracker in enumerate(self._trackers):
            infos = self._add_info(infos, tracker.info(), index)
        return infos

    def _observations(self) -> NDArray[Any]:
        return self._observe(self.reports)

    def _check_open(self) -> None:
        if self.closed:
            raise TolariaError("this environment is closed; build a new one")

    def _check_started(self) -> None:
        self._check_open()
        if not self._fresh:
            raise TolariaError("no episode is running; call reset first")
