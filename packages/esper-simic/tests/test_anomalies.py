from __future__ import annotations

import math

import pytest

from esper_leyline import HEADS, PolicyConfig
from esper_leyline.actions import least_entropy
from esper_leyline.events import PPOUpdate
from esper_simic import AnomalyThresholds, detect_anomalies, thresholds_for

THRESHOLDS = thresholds_for(PolicyConfig().floors, slots=3)


def update(**facts) -> PPOUpdate:
    healthy = {
        "policy_loss": 0.1,
        "value_loss": 0.2,
        "entropy": 0.8,
        "head_entropy": dict.fromkeys(HEADS, 0.8),
        "head_gradient_norm": dict.fromkeys(HEADS, 0.3),
        "gradient_norm": 1.0,
        "kl": 0.01,
        "clip_fraction": 0.1,
        "ratio_min": 0.7,
        "ratio_max": 1.4,
        "explained_variance": 0.6,
        "advantage_mean": 0.0,
        "advantage_std": 1.0,
        "return_mean": 1.0,
        "return_std": 1.0,
        "lstm_hidden_norm": 1.0,
        "lstm_cell_norm": 1.0,
        "q_values": (),
        "q_spread": None,
        "learning_rate": 3e-4,
        "entropy_coefficient": 0.05,
        "passes": 4,
        "seconds": {},
    }
    return PPOUpdate(**(healthy | facts))


def kinds(round_number=20, **facts):
    found = detect_anomalies(update(**facts), THRESHOLDS, round_number=round_number)
    return [anomaly.kind for anomaly in found]


def test_a_healthy_update_has_no_anomaly():
    assert kinds() == []
    assert kinds(gradient_kept=0.5) == []


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"ratio_max": 6.0}, "ratio_explosion"),
        ({"ratio_min": 0.05}, "ratio_collapse"),
        ({"explained_variance": -0.2}, "value_collapse"),
        ({"gradient_norm": 1e4}, "gradient_pathology"),
        ({"gradient_norm": math.nan}, "gradient_pathology"),
        ({"gradient_norm": 1e-9}, "gradient_pathology"),
        ({"gradient_norm": 60.0, "gradient_kept": 0.05}, "gradient_pathology"),
        ({"skipped": "a reward is not finite"}, "numerical_instability"),
    ],
)
def test_each_kind_is_found(facts, kind):
    assert kinds(**facts) == [kind]


def test_explained_variance_is_not_checked_in_the_first_rounds():
    assert kinds(explained_variance=-5.0, round_number=THRESHOLDS.warm_up_rounds) == []


def test_a_collapsed_head_is_found_among_healthy_ones():
    entropies = dict.fromkeys(HEADS, 0.95) | {"slot": 0.008}
    dead = update(entropy=0.9, head_entropy=entropies)
    found = detect_anomalies(dead, THRESHOLDS, round_number=20)
    assert [(one.kind, one.head) for one in found] == [("entropy_collapse", "slot")]


@pytest.mark.parametrize("head", HEADS)
def test_a_head_at_its_probability_floor_has_collapsed(head):
    floor = PolicyConfig().floors[head]
    for choices in (2, 3):
        entropies = dict.fromkeys(HEADS, 0.95) | {head: least_entropy(floor, choices)}
        assert kinds(head_entropy=entropies) == ["entropy_collapse"]


def test_heads_without_a_choice_have_no_anomaly():
    never = dict.fromkeys(HEADS)
    silent = {"policy_loss": None, "entropy": None, "ratio_min": None, "ratio_max": None}
    still = dict.fromkeys(HEADS, 0.0)
    assert kinds(head_entropy=never, head_gradient_norm=still, kl=None, **silent) == []


def test_skips_are_counted():
    (found,) = detect_anomalies(
        update(skipped="x"), AnomalyThresholds(), round_number=20, consecutive_skips=2
    )
    assert (found.where, found.consecutive) == ("x", 2)


def test_least_entropy_by_hand():
    assert least_entropy(0.0, 4) == 0
    expected = -(0.925 * math.log(0.925) + 0.075 * math.log(0.075)) / math.log(2)
    assert least_entropy(0.15, 2) == pytest.approx(expected)
