"""Pictures of runs: every panel has its data, or says why it is empty."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from matplotlib import image
from matplotlib.axes import Axes

from esper_karn import KarnError
from esper_karn.analytics.database import open_runs
from esper_karn.analytics.plots.figure import draw, plot_runs
from esper_karn.analytics.plots.plot_data import PlottedRun, Stretch, read_run
from esper_karn.analytics.plots.style import MOST_RUNS
from esper_leyline.events import PPOUpdate, QValue


@pytest.fixture
def texts(monkeypatch):
    """What the panels say: titles and notes."""
    said = []
    for name in ("text", "set_title"):
        original = getattr(Axes, name)

        def note(axes, *arguments, original=original, **options):
            said.extend(each for each in arguments if isinstance(each, str))
            return original(axes, *arguments, **options)

        monkeypatch.setattr(Axes, name, note)
    return said


def size_of(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    height, width, _ = image.imread(io.BytesIO(png)).shape
    return width, height


@pytest.fixture
def plot(write_run, caches, as_log):
    def plot_logs(**logs):
        runs = [write_run(name, as_log(events)) for name, events in logs.items()]
        with open_runs(runs, caches) as database:
            return plot_runs(database)

    return plot_logs


def with_q_values(events):
    values = (
        QValue(op="WAIT", mean=1.0, variance=0.25, valid_steps=4),
        QValue(op="PRUNE", mean=float("nan"), variance=None, valid_steps=0),
    )
    return [
        replace(event, payload=event.payload.model_copy(update={"q_values": values}))
        if isinstance(event.payload, PPOUpdate)
        else event
        for event in events
    ]


def test_a_run_is_read_from_its_log(write_run, caches, as_log, run_of):
    run = write_run("a", as_log(with_q_values(run_of(rounds=3))))
    with open_runs([run], caches) as database:
        found = read_run(database, "a")
    assert [at for at, _ in found.accuracy] == [1, 2, 3]
    assert found.ops[2] == {"WAIT": 3, "GERMINATE": 1, "FOSSILIZE": 0, "PRUNE": 1}
    assert [(q.mean, q.deviation) for q in found.q_values["WAIT"]] == [(1.0, 0.5)] * 3
    assert {seed.fate for seed in found.seeds} == {"fossilized", "pruned"}
    best = found.best
    assert (best.round, best.environment, best.accuracy, best.epochs) == (1, 0, 45.0, 3)
    assert best.stretches == tuple(
        Stretch(slot="r0c0", blueprint="norm", stage=stage, first=epoch, last=epoch)
        for epoch, stage in enumerate(("TRAINING", "BLENDING", "FOSSILIZED"), 1)
    )


def test_one_run_and_several_are_drawn_with_all_panels(plot, run_of, texts):
    one = plot(a=with_q_values(run_of(rounds=3)))
    titles = {
        *("validation accuracy, mean of a round", "return, mean of a round", "actions"),
        *("Q by action, last update", "contribution of seeds at their end"),
        "seeds of A, best episode: round 1, host 0, 45.0 % after 3 epochs",
    }
    assert titles <= set(texts)
    two = plot(b=run_of(rounds=1), c=run_of(rounds=2))
    assert size_of(one)[0] == size_of(two)[0]
    assert size_of(two)[1] > size_of(one)[1]


def test_an_empty_run_says_in_each_panel_what_is_missing(plot, run_of, texts):
    plot(empty=run_of(rounds=1)[:2])
    assert texts.count("no round has ended") == 2
    assert {
        *("no action in a finished round", "no seed's contribution was measured"),
        "no Q value: no update, or no policy that learns",
        "no episode with an accuracy has ended",
    } <= set(texts)


def test_a_value_that_is_not_finite_is_marked(texts):
    nan, inf = float("nan"), float("inf")
    points = ((1, 1.0), (2, nan), (3, inf), (4, None), (5, 2.0))
    draw([PlottedRun(name="a", accuracy=points, mean_return=((1, nan),))], "mnist1d")
    assert texts.count("× not a finite number") == 2


def test_names_are_never_formulas_and_any_length_fits(plot, run_of):
    short = plot(a=run_of(rounds=1))
    long = plot(**{"_$x_{$ " + "long-name " * 19: run_of(rounds=1)})
    assert size_of(long)[1] > size_of(short)[1]


def test_a_log_without_epochs_says_which_level_has_them(plot, run_of, texts):
    plot(a=[event for event in run_of(rounds=1) if event.kind != "epoch_completed"])
    assert "needs --telemetry-level normal" in texts


def test_more_runs_than_colours_are_refused(plot, run_of):
    begun = run_of(rounds=1)[:2]
    with pytest.raises(KarnError, match=rf"can show {MOST_RUNS} runs, and there are 9; name fewer"):
        plot(**{f"run_{number}": begun for number in range(9)})
