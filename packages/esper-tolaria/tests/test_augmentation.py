from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import pad

from esper_kasmina import build_host
from esper_leyline import FactoredAction, TrainingConfig, override
from esper_leyline.config.host import Augmentation
from esper_tolaria import TolariaError, augment, make_setup
from esper_tolaria.datasets.augmentation import epoch_generator

CPU = torch.device("cpu")
WAIT = FactoredAction()
MOVING = {"augmentation": {"crop_padding": 2, "flip": True}}
SIZES = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def every_version(image: torch.Tensor, augmentation: Augmentation) -> list[torch.Tensor]:
    """The slow way: all crops of a padded image [C, H, W], and their mirror images."""
    _, height, width = image.shape
    margin = augmentation.crop_padding
    images = [image, image.flip(2)] if augmentation.flip else [image]
    return [
        pad(each, (margin,) * 4)[:, top : top + height, left : left + width]
        for each in images
        for top in range(2 * margin + 1)
        for left in range(2 * margin + 1)
    ]


@given(shape=SIZES, margin=st.integers(0, 3), flip=st.booleans(), seed=st.integers(0, 2**40))
def test_each_image_becomes_one_of_its_crops_or_flipped_crops(shape, margin, flip, seed):
    augmentation = Augmentation(crop_padding=margin, flip=flip)
    images = torch.rand(shape, generator=generator(seed)) + 0.1
    before = images.clone()
    changed = augment(images, augmentation, generator(seed))
    assert torch.equal(images, before)
    assert changed.shape == images.shape
    for image, version in zip(images, changed, strict=True):
        assert any(torch.equal(version, each) for each in every_version(image, augmentation))


def test_all_crops_are_about_equally_frequent():
    augmentation = Augmentation(crop_padding=1, flip=True)
    image = torch.rand(1, 4, 5, generator=generator(0)) + 0.1
    copies = augment(image.expand(3600, -1, -1, -1), augmentation, generator(1))
    counts = [
        int((copies == version).flatten(1).all(1).sum())
        for version in every_version(image, augmentation)
    ]
    assert sum(counts) == 3600
    assert min(counts) > 140
    assert max(counts) < 270


def test_images_of_a_batch_are_cropped_independently_by_the_generator():
    augmentation = Augmentation(crop_padding=4, flip=True)
    images = torch.rand(1, 3, 8, 8).expand(64, -1, -1, -1)
    first = augment(images, augmentation, generator(5))
    torch.manual_seed(99)
    assert torch.equal(first, augment(images, augmentation, generator(5)))
    assert not torch.equal(first, augment(images, augmentation, generator(6)))
    assert len(first.flatten(1).unique(dim=0)) > 30


def test_the_generator_is_seeded_by_seed_and_epoch():
    draws = {
        (seed, epoch): torch.rand(3, generator=epoch_generator(seed, epoch, CPU)).tolist()
        for seed in (0, 1, 2**31)
        for epoch in (1, 2, 150)
    }
    assert len({tuple(values) for values in draws.values()}) == len(draws)
    again = torch.rand(3, generator=epoch_generator(1, 2, CPU))
    assert again.tolist() == draws[1, 2]


@pytest.fixture
def digits(few_rows, grown_in):
    """Environments on small images; arguments change how their hosts train."""

    def make(hosts: int, **training: object):
        task = few_rows("digits", 100, **training)
        return grown_in(task, n_envs=hosts)

    return make


def test_augmented_hosts_do_not_depend_on_their_neighbours(digits, play):
    seeds, script = [3, 1, 4, 3], [WAIT] * 3
    moving = Augmentation(**MOVING["augmentation"])
    together = play(digits(4, augmentation=moving), seeds, [script] * 4)
    for index, seed in enumerate(seeds):
        alone = play(digits(1, augmentation=moving), [seed], [script])
        for joint, (single,) in zip(together, alone, strict=True):
            assert replace(single, environment=index) == joint[index]


def test_augmentation_changes_training_but_not_validation(digits):
    moved, still = digits(1, augmentation=Augmentation(**MOVING["augmentation"])), digits(1)
    for environment in (moved, still):
        environment.reset([7])
    # Before the first update nothing but the batch differs, and the two judge alike.
    assert moved.evaluate() == still.evaluate()
    assert moved.step([WAIT])[0].train_loss > still.step([WAIT])[0].train_loss


def test_each_epoch_draws_new_crops(digits, monkeypatch):
    from esper_tolaria.engine import trainer

    seen = []

    def watched(images, augmentation, source):
        seen.append(augment(images, augmentation, source))
        return seen[-1]

    monkeypatch.setattr(trainer, "augment", watched)
    environment = digits(2, augmentation=Augmentation(**MOVING["augmentation"]), batch_size=100)
    environment.reset([7, 8])
    for _ in range(2):
        environment.step([WAIT, WAIT])
    ink = [sorted(batch.sum((1, 2, 3)).tolist()) for batch in seen]
    assert len({tuple(each) for each in ink}) == 4


def test_augmentation_needs_images(task):
    config = override(TrainingConfig(task=task.name), {"host": MOVING})
    with pytest.raises(TolariaError, match=r"shape \(1, 40\), and augmentation is for images"):
        make_setup(task, config, build_host)
