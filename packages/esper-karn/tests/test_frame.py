"""Frames: applied one after another, they make the whole view."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_karn import VIEWS, KarnError, fold, frame, host_view
from esper_karn.views.host import waterfall
from esper_leyline import override
from esper_leyline.events import CounterfactualMatrix, Event, Phase, RunPhase, RunResumed
from esper_leyline.reports import CounterfactualConfig


class Reader:
    """What a reader holds of a view."""

    def __init__(self):
        self.known, self.panels, self.series = -1, {}, {}

    def apply(self, found):
        if found.from_sequence < 0:
            self.panels, self.series = {}, {}
        self.panels |= found.panels
        for name, tail in found.series.items():
            self.series[name] = (*self.series.get(name, ())[: tail.start], *tail.buckets)
        self.known = found.to_sequence

    def holds(self, state, view):
        whole = Reader()
        whole.apply(frame(state, view))
        # By text, because NaN is not equal to itself.
        return repr((self.panels, self.series)) == repr((whole.panels, whole.series)) or (
            {name: repr(each) for name, each in self.panels.items()}
            == {name: repr(each) for name, each in whole.panels.items()}
            and self.series == whole.series
        )


def resumed_run(run_of):
    events = run_of(4, end=False)
    count = len(events)
    again = [each for each in events if each.round is not None and each.round > 2]
    resumed = RunResumed(checkpoint="c", rounds_completed=2)
    envelope = {"run_id": events[0].run_id, "boot": 1, "monotonic": 1.0, "wall_time": 2e9}
    first = Event(**envelope, sequence=count, payload=resumed)
    repeated = [
        replace(each, sequence=count + number, boot=1) for number, each in enumerate(again, 1)
    ]
    return [*events, first, *repeated]


@pytest.mark.parametrize("view", [*VIEWS, "host/1"])
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_frames_of_any_split_make_the_whole_view(view, data, run_of):
    events = resumed_run(run_of)
    state, reader, position = fold(events[:20]), Reader(), 20
    while position < len(events):
        end = data.draw(st.integers(position + 1, len(events)))
        state, position = fold(events[position:end], state), end
        reader.apply(frame(state, view, reader.known))
        assert reader.holds(state, view)


@pytest.mark.parametrize("view", VIEWS)
def test_a_reader_learns_what_the_level_of_a_resumed_run_lacks(view, run_of):
    first, *_ = run_of(1)
    config = override(first.payload.config, {"telemetry": {"level": "minimal"}})
    payload = first.payload.model_copy(update={"config": config})
    again = replace(first, sequence=1, boot=1, payload=payload)
    state, reader = fold([first, again]), Reader()
    reader.apply(frame(fold([first]), view))
    reader.apply(frame(state, view, reader.known))
    assert reader.holds(state, view)


@pytest.mark.parametrize("view", ["run", "log"])
def test_the_phases_of_a_process_that_died_are_not_those_of_the_next(view, run_of):
    first, *_ = run_of(1)
    phase = replace(first, sequence=1, payload=RunPhase(phase=Phase.TRAINING))
    again = replace(first, sequence=2, boot=1)
    reader = Reader()
    reader.apply(frame(fold([first, phase]), view))
    reader.apply(frame(fold([first, phase, again]), view, reader.known))
    assert reader.panels["phase"].value.steps == ()


def test_a_reader_that_goes_back_in_time_gets_the_whole_view(run_of):
    events = run_of(3)
    back = frame(fold(events[:30]), "run", from_sequence=len(events) - 1)
    assert back == frame(fold(events[:30]), "run")


def test_a_view_that_is_not_there_is_named(run_of):
    with pytest.raises(KarnError, match="no view 'host/9'; views: run, hosts"):
        frame(fold(run_of(1)), "host/9")


def test_a_resumed_run_equals_one_that_was_not_interrupted(run_of):
    resumed, whole = fold(resumed_run(run_of)), fold(run_of(4, end=False))
    assert repr(resumed.report.rounds) == repr(whole.report.rounds)
    named = [
        {name: each.packed for name, each in state.series.items()} for state in (resumed, whole)
    ]
    assert set(named[0]) == set(named[1])
    for name, series in whole.series.items():
        if name != "seconds_worked":
            found = [(b.first, b.samples, b.total) for b in resumed.series[name].buckets]
            assert found == [(b.first, b.samples, b.total) for b in series.buckets]
    for old, new in zip(whole.environments, resumed.environments, strict=True):
        assert repr(host_view(old).current) == repr(host_view(new).current)


def test_a_waterfall_goes_from_the_host_alone_to_all_seeds():
    accuracies = {("a", "b"): 60.0, ("a",): 55.0, ("b",): 52.0, (): 50.0}
    matrix = CounterfactualMatrix(
        configurations=tuple(
            CounterfactualConfig(active=active, accuracy=value)
            for active, value in accuracies.items()
        )
    )
    steps = waterfall(matrix)
    assert [(step.slot, step.accuracy, step.change) for step in steps] == [
        (None, 50.0, None),
        ("a", 55.0, 5.0),
        ("b", 60.0, 5.0),
    ]
