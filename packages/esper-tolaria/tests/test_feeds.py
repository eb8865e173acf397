"""Batches by index or by a DataLoader: the same rows, and the same hosts."""

from __future__ import annotations

import pytest
import torch

from esper_kasmina import build_host
from esper_leyline import HostTraining
from esper_leyline.config.host import FeedConfig
from esper_tolaria import Split, TolariaError, build_environment
from esper_tolaria.datasets.feeds import GatherFeed, LoaderFeed, build_feed, check_feed
from esper_tolaria.datasets.order import epoch_order

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
TRAINING = HostTraining(optimizer="sgd", learning_rate=0.1, batch_size=4)


def split(rows: int = 10) -> Split:
    return Split(torch.arange(rows * 6.0).view(rows, 2, 3), torch.arange(rows))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_the_same_batches_as_a_gather(workers):
    gathered = GatherFeed(split(), TRAINING, rng_seed=5)
    loaded = LoaderFeed(split(), TRAINING, 5, device=CPU, workers=workers)
    assert gathered.count() == loaded.count() == 3
    for epoch in (1, 2):
        for one, other in zip(gathered.batches(epoch), loaded.batches(epoch), strict=True):
            assert torch.equal(one[0], other[0])
            assert torch.equal(one[1], other[1])


def test_an_epoch_has_every_row_once():
    feed = GatherFeed(split(), TRAINING, rng_seed=5)
    orders = [torch.cat([rows for _, rows in feed.batches(epoch)]) for epoch in (1, 2)]
    assert not torch.equal(*orders)
    for epoch, order in enumerate(orders, start=1):
        assert torch.equal(order, epoch_order(5, epoch, 10))
    (inputs, targets), *_ = feed.batches(1)
    assert torch.equal(inputs, split().inputs[targets])


def test_max_batches_limits_the_epoch():
    feed = GatherFeed(split(), TRAINING.model_copy(update={"max_batches": 2}), rng_seed=5)
    assert [len(rows) for _, rows in feed.batches(1)] == [4, 4]
    assert feed.count() == 2


def test_on_a_cpu_rows_are_gathered_unless_there_are_loader_workers():
    kinds = [
        type(build_feed(split(), TRAINING, 0, FeedConfig(**settings), CPU))
        for settings in ({}, {"gpu_preload_gather": True}, {"num_workers": 1})
    ]
    assert kinds == [GatherFeed, GatherFeed, LoaderFeed]


@pytest.mark.parametrize(
    ("settings", "device", "message"),
    [
        ({"gpu_preload": True}, CPU, "gpu_preload needs a CUDA device"),
        ({"gpu_preload_gather": True, "num_workers": 2}, CPU, "num_workers cannot be 2"),
        ({"gpu_preload_gather": True}, CUDA, r"add feed\.gpu_preload"),
        ({"gpu_preload": True, "num_workers": 3}, CUDA, "num_workers cannot be 3"),
    ],
)
def test_impossible_settings_are_refused(settings, device, message):
    with pytest.raises(TolariaError, match=message):
        check_feed(FeedConfig(**settings), device)


def test_refused_settings_build_no_environment(task, make_config):
    config = make_config(feed={"gpu_preload": True})
    with pytest.raises(TolariaError, match="gpu_preload needs a CUDA device"):
        build_environment(task, config, build_host, "cpu")


@pytest.mark.slow
def test_reports_do_not_depend_on_the_feed(task, make_config, play, growth):
    """Worker processes may have workers of their own."""
    reports = []
    for workers, loaders in ((1, 0), (1, 2), (2, 1)):
        config = make_config(n_envs=2, feed={"num_workers": loaders})
        environment = build_environment(task, config, build_host, "cpu", workers=workers)
        reports.append(play(environment, [1, 2], [growth, growth]))
        environment.close()
    assert reports[0] == reports[1] == reports[2]


@pytest.mark.gpu
@pytest.mark.parametrize(
    "feed", [{}, {"num_workers": 1}, {"gpu_preload": True}], ids=["loader", "workers", "preload"]
)
def test_feeds_on_a_gpu_give_the_same_batches(task, make_config, feed):
    preloaded = {"gpu_preload": True, "gpu_preload_gather": True}
    rows = []
    for settings in (preloaded, feed):
        made = build_feed(split(), TRAINING, 1, FeedConfig(**settings), CUDA)
        rows.append(torch.cat([targets for _, targets in made.batches(1)]))
        assert rows[-1].device == CUDA
    assert torch.equal(*rows)
