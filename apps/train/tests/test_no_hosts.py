"""An environment whose hosts were not built yet has no test accuracy."""

from __future__ import annotations

from esper_kasmina import build_host
from esper_tolaria import build_environment, find_preset, find_task


def test_without_hosts_nothing_is_evaluated() -> None:
    config = find_preset("digits")
    environment = build_environment(find_task("digits").spec, config, build_host, "cpu", workers=1)
    assert list(environment.evaluate()) == []
    environment.reset([1])
    assert len(environment.evaluate()) == 1
