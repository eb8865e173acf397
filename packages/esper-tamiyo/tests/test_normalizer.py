from __future__ import annotations

import pytest
import torch

from esper_leyline import BASE_FEATURES, BASE_SIZE, SLOT_FEATURES
from esper_leyline.observation import SLOT_SIZE, UNMEASURED
from esper_tamiyo import ObservationNormalizer

OFFSETS = {feature.name: feature.offset for feature in BASE_FEATURES}
GRADIENT = next(f.offset for f in SLOT_FEATURES if f.name == "gradient_norm")
LOSS = OFFSETS["val_loss"]
STANDARDIZED = {
    LOSS,
    *range(OFFSETS["loss_history"], OFFSETS["loss_history"] + 5),
    *(BASE_SIZE + slot * SLOT_SIZE + GRADIENT for slot in range(2)),
}
SIZE = BASE_SIZE + 2 * SLOT_SIZE


def assert_close(actual, expected, *, atol=1e-5, rtol=1e-5, msg=""):
    # Importing torch.testing would cost five seconds.
    assert torch.allclose(actual, expected, atol=atol, rtol=rtol), (msg, actual, expected)


@pytest.fixture
def normalizer():
    return ObservationNormalizer(2)


def everything(steps=50, environments=3):
    return torch.rand(steps, environments, SIZE), torch.ones(steps, environments, dtype=torch.bool)


def test_features_are_unchanged_before_the_first_update(normalizer):
    features, _ = everything()
    assert torch.equal(normalizer(features), features)


def test_only_unbounded_features_are_standardized(normalizer):
    features, valid = everything()
    normalizer.update(features, valid)
    moved = (normalizer(features) != features).flatten(0, 1).any(dim=0)
    assert set(moved.nonzero().flatten().tolist()) == STANDARDIZED
    columns = normalizer(features)[..., sorted(STANDARDIZED)].flatten(0, 1)
    assert_close(columns.mean(0), torch.zeros(len(STANDARDIZED)), atol=1e-3, rtol=0)
    deviation = columns.std(0, correction=0)
    assert_close(deviation, torch.ones(len(STANDARDIZED)), atol=1e-3, rtol=0)


def test_updates_in_pieces_equal_one_update(normalizer):
    features, valid = everything()
    features[::7, 0, LOSS] = UNMEASURED
    whole = ObservationNormalizer(2)
    whole.update(features, valid)
    for piece in (slice(0, 1), slice(1, 20), slice(20, 50)):
        normalizer.update(features[piece], valid[piece])
    for name, value in whole.state_dict().items():
        assert_close(normalizer.state_dict()[name], value, msg=name)


def test_unmeasured_entries_are_ignored_and_unchanged(normalizer):
    features, valid = everything()
    clean = ObservationNormalizer(2)
    clean.update(features[:25], valid[:25])
    features[25:, :, LOSS] = UNMEASURED
    normalizer.update(features, valid)
    assert normalizer.mean[LOSS] == pytest.approx(clean.mean[LOSS].item())
    assert normalizer.count[LOSS] == 75
    assert (normalizer(features)[25:, :, LOSS] == UNMEASURED).all()


def test_invalid_steps_are_ignored(normalizer):
    features, valid = everything()
    valid[10:] = False
    features[10:] = 1e6
    normalizer.update(features, valid)
    assert normalizer.count[LOSS] == 30
    assert normalizer.mean[LOSS] < 1
    normalizer.update(features, torch.zeros_like(valid))
    assert normalizer.count[LOSS] == 30


def test_outliers_are_clipped_and_constants_are_not_scaled_up(normalizer):
    features, valid = everything()
    features[..., LOSS] = 0.25
    normalizer.update(features, valid)
    assert (normalizer(features)[..., LOSS].abs() < 1e-3).all()
    features[..., LOSS] = 2.0
    assert (normalizer(features)[..., LOSS] == 10.0).all()


def test_one_measurement_has_no_standard_deviation(normalizer):
    features, valid = everything()
    seen = torch.zeros_like(valid)
    seen[0, 0] = True
    normalizer.update(features, seen)
    moved = normalizer(features)[..., LOSS]
    assert_close(moved, features[..., LOSS] - features[0, 0, LOSS])
    assert moved.abs().max() > 0


def test_statistics_are_in_the_state_dict(normalizer):
    features, valid = everything()
    normalizer.update(features, valid)
    other = ObservationNormalizer(2)
    other.load_state_dict(normalizer.state_dict())
    assert torch.equal(other(features), normalizer(features))
    more, valid = everything()
    for each in (other, normalizer):
        each.update(more, valid)
    assert torch.equal(other(features), normalizer(features))
