"""Features of real hosts stay within the range that the policy distinguishes."""

from __future__ import annotations

import pytest
import torch

from esper_kasmina import build_host
from esper_leyline import BASE_FEATURES, SLOT_FEATURES, StepReport, TrainingConfig, override
from esper_leyline.observation import UNMEASURED
from esper_simic import PPORunner, build_reward
from esper_tamiyo import RecurrentPolicy
from esper_tolaria import build_environment, find_preset, find_task

LIMIT = 0.02
"""Largest share of a feature's measured values that may stand at an end of its range."""


class WatchedPolicy(RecurrentPolicy):
    """Keeps what it read in every step, as encoded and as standardised."""

    def encode(self, reports: tuple[StepReport, ...]):
        observation = super().encode(reports)
        going_on = torch.tensor([report.ended is None for report in reports])
        encoded = observation.features[going_on]
        self.seen = [*getattr(self, "seen", []), (encoded, self.normalizer(encoded))]
        return observation


def watched_run(config: TrainingConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Trains by a configuration; returns every observation, encoded and standardised [M, F]."""
    environment = build_environment(find_task(config.task).spec, config, build_host, workers=1)
    try:
        torch.manual_seed(config.seed)
        policy = WatchedPolicy(environment.spec, config.policy)
        reward = build_reward(config.reward, gamma=config.ppo.gamma)
        PPORunner(environment, policy, reward, config.ppo, rng_seed=config.seed).learn(
            config.n_episodes
        )
    finally:
        environment.close()
    encoded, standardized = zip(*policy.seen, strict=True)
    return torch.cat(encoded), torch.cat(standardized)


def saturation(encoded: torch.Tensor, standardized: torch.Tensor) -> dict[str, float]:
    """Returns, by unbounded feature, the share of its measured values that are at a limit.

    One-hots, flags, choices and shares are exact at their ends and are left out.
    """
    slots = (encoded.shape[1] - sum(each.width for each in BASE_FEATURES)) // sum(
        each.width for each in SLOT_FEATURES
    )
    columns = [each for each in BASE_FEATURES for _ in range(each.width)]
    columns += [each for each in SLOT_FEATURES for _ in range(each.width)] * slots
    found: dict[str, list[torch.Tensor]] = {}
    for index, feature in enumerate(columns):
        if feature.kind != "measure":
            continue
        values, read = encoded[:, index], standardized[:, index]
        at_limit = (values <= feature.low) | (values >= feature.high) | (read.abs() >= 10.0)
        found.setdefault(feature.name, []).append(at_limit[values != UNMEASURED])
    return {name: torch.cat(parts).float().mean().item() for name, parts in found.items()}


@pytest.mark.parametrize(
    "rounds", [pytest.param(4, marks=pytest.mark.slow), pytest.param(30, marks=pytest.mark.nightly)]
)
def test_no_feature_saturates_over_a_default_run(rounds):
    config = override(find_preset("mnist1d_blind"), {"device": "cpu", "n_episodes": rounds})
    measured = saturation(*watched_run(config))
    assert set(measured) == {
        each.name for each in (*BASE_FEATURES, *SLOT_FEATURES) if each.kind == "measure"
    }
    assert {name: share for name, share in measured.items() if share > LIMIT} == {}
