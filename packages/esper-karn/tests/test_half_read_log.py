"""A run whose log is not read to its end yet is called neither stale nor crashed."""

from __future__ import annotations

from esper_karn.tui import source as sources
from esper_karn.tui.source import Request, RunSource
from esper_leyline.run_lock import LockProbe, LockState

FREE = LockProbe(state=LockState.FREE)


def test_sanctum_says_how_a_run_stands_once_its_log_is_read(run_of, as_log, tmp_path, monkeypatch):
    events = list(run_of(40))
    log = tmp_path / "events.jsonl"
    log.write_bytes(as_log(events[:-1]))
    monkeypatch.setattr(sources, "SLICE", 0.0)
    source = RunSource(log, clock=lambda: events[-1].wall_time, probe=lambda _: FREE)
    found = []
    while not found or found[-1].share < 1.0:
        found.append(source.answer(Request(views=("status",))))
    source.close()
    assert len(found) > 1
    assert [each.condition for each in found[:-1]] == [None] * (len(found) - 1)
    assert found[-1].condition.condition == "crashed"
