"""Gymnasium views of an environment: K hosts as a ``VectorEnv``, one host as an ``Env``.

Needs the extra ``gym``. The observation encoder and the reward come in as callables, and
importing this registers nothing. ``esper_tolaria.gym.stable_baselines`` (extra ``sb3``)
lets Stable-Baselines3 train on the ``VectorEnv``.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("gymnasium") is None:
    raise ImportError(
        "esper_tolaria.gym needs gymnasium, which is not installed; "
        "run: pip install esper-tolaria[gym]"
    )

from esper_tolaria.gym.masks import ActionMasks
from esper_tolaria.gym.observations import Encode
from esper_tolaria.gym.single import HostEnv
from esper_tolaria.gym.vector import HostVectorEnv

__all__ = ["ActionMasks", "Encode", "HostEnv", "HostVectorEnv"]
