from __future__ import annotations

from esper_kasmina import build_host
from esper_tolaria import build_environment, find_preset, find_task
from esper_train.session import mean_test_accuracy


def test_without_hosts_there_is_no_mean() -> None:
    config = find_preset("digits")
    environment = build_environment(find_task("digits").spec, config, build_host, "cpu", workers=1)
    assert mean_test_accuracy(environment) is None
    environment.reset([1])
    assert mean_test_accuracy(environment) is not None
