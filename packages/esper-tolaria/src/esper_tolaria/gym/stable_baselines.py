"""A ``HostVectorEnv`` as the ``VecEnv`` that Stable-Baselines3 trains on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

import numpy as np
from gymnasium.wrappers.vector import DictInfoToList
from numpy.typing import NDArray

from esper_tolaria.errors import TolariaError
from esper_tolaria.gym.vector import HostVectorEnv

if find_spec("stable_baselines3") is None:
    raise ImportError(
        "esper_tolaria.gym.stable_baselines needs stable-baselines3, which is not installed; "
        "run: pip install esper-tolaria[sb3]"
    )

from stable_baselines3.common.vec_env import VecEnv

Indices = Iterable[int] | int | None
Step = tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_], list[dict[str, Any]]]


class StableBaselinesVecEnv(VecEnv):
    """Adapts the K hosts of a ``HostVectorEnv`` to Stable-Baselines3.

    ``MaskablePPO`` of sb3-contrib finds the masks by ``env_method("action_masks")``. The
    info of an episode's last step holds ``terminal_observation``.
    """

    def __init__(self, env: HostVectorEnv) -> None:
        self._env = env
        self._by_host = DictInfoToList(env)
        self._actions: NDArray[np.int64] | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> NDArray[Any]:
        """Starts an episode in every host, with the seeds of the last call of ``seed``.

        Raises:
            TolariaError: If options were set, of which there are none.
        """
        options = next((each for each in self._options if each), None)
        seeds: Any = self._seeds  # gymnasium's wrapper says int | None and passes a list on
        observations, self.reset_infos = self._by_host.reset(seed=seeds, options=options)
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Stores the actions [K, heads] for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> Step:
        """Applies the stored actions and trains each host for one epoch.

        Returns:
            Observations [K, ...], rewards [K], dones [K], and one info per host.

        Raises:
            TolariaError: If the actions do not fit, or ``step_async`` was not called.
        """
        if self._actions is None:
            raise TolariaError("there are no actions to wait for; call step_async first")
        actions, self._actions = self._actions, None
        observations, rewards, terminated, truncated, infos = self._by_host.step(actions)
        shown = [self._last_info(index, info) for index, info in enumerate(infos)]
        return observations, rewards, terminated | truncated, shown

    def close(self) -> None:
        """Closes the environment."""
        self._env.close()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Returns an attribute of the environment, repeated for each host."""
        value = getattr(self._env, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Raises an error, because hosts have no attributes of their own.

        Raises:
            TolariaError: Always.
        """
        raise TolariaError(
            f"attribute '{attr_name}' cannot be set to {value!r} for hosts {indices}; "
            "set it on the HostVectorEnv itself"
        )

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Calls a method of the environment and returns the row of each given host.

        Raises:
            TolariaError: If it is not ``action_masks``, the only one with a value per host.
        """
        if method_name != "action_masks":
            raise TolariaError(f"hosts have no method '{method_name}'; they have action_masks")
        method: Callable[..., NDArray[Any]] = self._env.action_masks
        masks = method(*method_args, **method_kwargs)
        return [masks[index] for index in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: Indices = None) -> list[bool]:  # noqa: ARG002
        """Returns ``False`` for each host, because none is wrapped."""
        return [False for _ in self._get_indices(indices)]

    def _last_info(self, index: int, info: dict[str, Any]) -> dict[str, Any]:
        """Returns the info of the step; the info of the next episode goes to ``reset_infos``."""
        if "final_info" not in info:
            return info
        final, last = info.pop("final_obs"), info.pop("final_info")
        self.reset_infos[index] = info
        return {**last, "terminal_observation": final, "TimeLimit.truncated": False}
