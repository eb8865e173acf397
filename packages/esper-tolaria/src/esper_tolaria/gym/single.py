"""One host as a ``gymnasium.Env``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, MultiDiscrete
from numpy.typing import NDArray

from esper_leyline import Environment, RewardFunction, StepReport
from esper_tolaria.errors import TolariaError
from esper_tolaria.gym.checks import check_options, check_rows
from esper_tolaria.gym.masks import ActionMasks, Mask
from esper_tolaria.gym.observations import Encode, Observer
from esper_tolaria.gym.seeds import check_seed, draw_seed
from esper_tolaria.gym.tracker import EpisodeTracker

Step = tuple[NDArray[Any], float, bool, bool, dict[str, Any]]


class HostEnv(gymnasium.Env[NDArray[Any], NDArray[np.int64]]):
    """The first host of an ``Environment``, one epoch a step.

    Actions are one index per head, in ``HEADS`` order. An episode is terminated at the
    horizon and by the governor, never truncated. This object owns the environment: it resets it
    to read a shape, and closes it.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]

    def __init__(
        self,
        environment: Environment,
        encode: Encode,
        reward: RewardFunction,
        observation_space: Box | None = None,
    ) -> None:
        """Wraps an environment with an encoder and a reward.

        Args:
            environment: Trains the host.
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
        self._tracker = EpisodeTracker(masks, reward)
        self._closed = False
        self.observation_space = observer.space
        self.action_space = MultiDiscrete(list(masks.sizes))

    @property
    def report(self) -> StepReport:
        """The report of the last observation."""
        self._check_started()
        return self._tracker.report

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Starts an episode with a fresh host.

        Args:
            seed: The host's random seed; later episodes without one draw theirs from it.
            options: Must be empty.

        Raises:
            TolariaError: If the seed is not a whole number, there are options, or the
                environment is closed.
        """
        self._check_open()
        check_options(options)
        super().reset(seed=check_seed(seed))
        host_seed = draw_seed(self.np_random) if seed is None else int(seed)
        (report,) = self._environment.reset([host_seed])
        self._tracker.begin(report)
        return self._observation(), self._tracker.info()

    def step(self, action: NDArray[np.int64]) -> Step:
        """Applies an action and trains the host for one epoch.

        Args:
            action: [heads], one index per head.

        Raises:
            TolariaError: If the action has another shape or an index outside its head, no
                episode is under way, or the environment is closed.
        """
        self._check_started()
        if self._tracker.over:
            raise TolariaError("the episode is over; call reset first")
        (row,) = check_rows(np.asarray(action)[np.newaxis], 1, self._sizes)
        (report,) = self._environment.step([self._tracker.choose(row)])
        reward = self._tracker.record_step(report)
        return self._observation(), reward, self._tracker.over, False, self._tracker.info()

    def action_masks(self) -> Mask:
        """Returns the valid choices of all heads, [sum of head sizes] bool.

        Raises:
            TolariaError: If ``reset`` was not called, or the environment is closed.
        """
        self._check_started()
        return self._tracker.mask()

    def close(self) -> None:
        """Closes the environment; a second time does nothing."""
        if not self._closed:
            self._environment.close()
        self._closed = True

    def _observation(self) -> NDArray[Any]:
        observation: NDArray[Any] = self._observe([self._tracker.report])[0]
        return observation

    def _check_open(self) -> None:
        if self._closed:
            raise TolariaError("this environment is closed; build a new one")

    def _check_started(self) -> None:
        self._check_open()
        if not self._tracker.started:
            raise TolariaError("no episode is running; call reset first")
