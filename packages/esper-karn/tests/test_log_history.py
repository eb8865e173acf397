"""All lines of a log, from its file."""

from __future__ import annotations

import pytest

from esper_karn import fold, log_lines
from esper_karn.runs import log_history
from esper_karn.runs.log_history import LogHistory


@pytest.fixture
def history(tmp_path):
    made = []

    def make(text):
        log = tmp_path / "events.jsonl"
        log.write_bytes(text)
        made.append(LogHistory(log))
        return made[-1], log

    yield make
    for each in made:
        each.close()


def read(history, slices=1_000):
    for _ in range(slices):
        history.read(0.0)
        if history.share == 1.0:
            return
    raise AssertionError("the log is not read")


def test_it_has_the_lines_that_a_state_has(history, run_of, as_log):
    events = run_of(3)
    found, _ = history(as_log(events))
    read(found)
    assert found.latest(1_000)[0] == log_lines(fold(events)).lines


def test_it_has_more_lines_than_a_state_keeps(history, run_of, as_log):
    events = run_of(200)
    found, _ = history(as_log(events))
    read(found)
    lines, older = found.latest(10_000)
    kept = log_lines(fold(events)).lines
    assert len(lines) > len(kept)
    assert lines[-len(kept) :] == kept
    assert older == 0


def test_the_latest_lines_and_the_number_of_older_ones(history, run_of, as_log):
    found, _ = history(as_log(run_of(50)))
    read(found)
    every, _ = found.latest(10_000)
    lines, older = found.latest(7)
    assert (lines, older) == (every[-7:], len(every) - 7)
    lines, older = found.latest(7, until=every[20].sequence)
    assert (lines, older) == (every[14:21], 14)


def test_only_lines_with_a_text_also_of_those_that_come_later(history, run_of, as_log):
    events = run_of(50)
    text = as_log(events)
    half = text.index(b"\n", len(text) // 2) + 1
    found, log = history(text[:half])
    read(found)
    before, _ = found.latest(10_000, "CHECKPOINT")
    with log.open("ab") as file:
        file.write(text[half:])
    read(found)
    after, _ = found.latest(10_000, "CHECKPOINT")
    assert len(after) > len(before) > 0
    assert {line.kind for line in after} == {"checkpoint_saved"}
    assert found.latest(10_000)[0] != after


def test_the_share_says_how_much_is_read(history, run_of, as_log):
    found, _ = history(as_log(run_of(200)))
    found.read(0.0)
    first = found.share
    read(found)
    assert 0.0 < first < found.share == 1.0


def test_a_log_that_was_replaced_begins_again(history, run_of, as_log, tmp_path):
    found, log = history(as_log(run_of(50)))
    read(found)
    (tmp_path / "new").write_bytes(as_log(run_of(1)))
    (tmp_path / "new").replace(log)
    read(found)
    assert found.latest(10_000)[0] == log_lines(fold(run_of(1))).lines


def test_the_oldest_lines_of_very_many_are_dropped_and_counted(
    history, run_of, as_log, monkeypatch
):
    whole, _ = history(as_log(run_of(200)))
    read(whole)
    every, _ = whole.latest(10_000)
    monkeypatch.setattr(log_history, "KEPT", 40)
    found, _ = history(as_log(run_of(200)))
    read(found)
    lines, _ = found.latest(10_000)
    assert len(lines) <= 40
    assert lines == every[found.dropped :]
