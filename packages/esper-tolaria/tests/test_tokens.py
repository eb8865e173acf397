"""Hosts over text: losses, accuracies and counterfactuals are means over tokens."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from esper_leyline import Blueprint, EpisodeEnd, FactoredAction, GovernorCause, Op, SeedStage
from esper_leyline.config.host import CounterfactualSet
from esper_tolaria import load_dataset
from esper_tolaria.datasets.splits import Split
from esper_tolaria.validation.counterfactuals import FULL_ONLY, compare
from esper_tolaria.validation.validate import (
    CHUNK,
    CHUNK_LOGITS,
    ScoreRequest,
    chunk_rows,
    read,
    score,
)

WAIT = FactoredAction()
ROWS = 160
LIFE = (
    WAIT,
    FactoredAction(op=Op.GERMINATE, slot=0, blueprint=Blueprint.MLP_SMALL, alpha_target=2),
    FactoredAction(op=Op.GERMINATE, slot=2, blueprint=Blueprint.ATTENTION, alpha_target=2),
    FactoredAction(op=Op.ADVANCE, slot=0),
    FactoredAction(op=Op.ADVANCE, slot=2),
    FactoredAction(op=Op.ADVANCE, slot=0),
    FactoredAction(op=Op.ADVANCE, slot=2),
    WAIT,
    WAIT,
)


@pytest.fixture(scope="module")
def text(few_rows):
    """Python's help texts, with few rows."""
    return few_rows("topics", ROWS)


@pytest.fixture
def environment(text, grown_in):
    made = grown_in(text)
    made.reset([1])
    return made


def host_of(environment):
    return environment._episodes[0]._host


def slowly(host, split, off=frozenset()) -> tuple[float, float]:
    """Loss and accuracy by one ordinary pass a row."""
    alpha = torch.full((1, len(host.slots)), float("nan"))
    for slot in off:
        alpha[0, host.slots.index(slot)] = 0.0
    host.train(False)
    losses, right = [], []
    with torch.no_grad():
        for inputs, targets in zip(split.inputs, split.targets, strict=True):
            logits = host(inputs[None], alpha)[0]
            losses.append(cross_entropy(logits, targets).item())
            right.append((logits.argmax(-1) == targets).double().mean().item())
    return sum(losses) / len(losses), 100.0 * sum(right) / len(right)


def test_a_step_reports_means_over_tokens(environment, text):
    (report,) = environment.step([WAIT])
    data = load_dataset(text)
    loss, accuracy = slowly(host_of(environment), data.validation)
    assert report.val_loss == pytest.approx(loss, rel=1e-4)
    assert report.val_accuracy == pytest.approx(accuracy, abs=0.02)
    assert 0 < report.train_accuracy < 100
    assert report.train_loss < math.log(256)
    (judged,) = environment.evaluate()
    assert judged.test_loss == pytest.approx(slowly(host_of(environment), data.test)[0], rel=1e-4)


def test_a_host_learns_the_text(environment):
    reports = [environment.step([WAIT])[0] for _ in range(8)]
    assert reports[-1].val_loss < 3.5 < reports[0].val_loss
    assert reports[-1].val_accuracy > 15


def test_seeds_grow_and_their_contributions_are_measured_on_tokens(environment, text):
    steps = [environment.step([action])[0] for action in LIFE]
    assert all(step.action_succeeded for step in steps), [step.rejection for step in steps]
    assert steps[-1].seeds[0].stage is SeedStage.BLENDING
    (last,) = environment.step([WAIT])
    # The report's alphas are those of the next epoch; the episode is judged before its tick.
    active = [each.active for each in last.counterfactuals]
    assert active == [("r0c0", "r0c2"), ("r0c2",), ("r0c0",), ()]
    values = {each.active: each.accuracy for each in last.counterfactuals}
    first, second = last.seeds[0], last.seeds[2]
    assert first.contribution == pytest.approx(values["r0c0", "r0c2"] - values["r0c2",])
    assert second.contribution == pytest.approx(values["r0c0", "r0c2"] - values["r0c0",])
    tokens = ROWS * 64
    assert all(
        (value * tokens / 100) == pytest.approx(round(value * tokens / 100))
        for value in values.values()
    )


@pytest.mark.slow
def test_disabling_a_seed_gives_the_outputs_of_its_host(environment, text):
    for action in LIFE:
        environment.step([action])
    validation = load_dataset(text).validation
    host = host_of(environment)
    comparison = compare(host.seed_reports(), CounterfactualSet(), last=False, key=(1, 1))
    assert comparison.active == ("r0c0", "r0c2")
    measured = read(
        score(host, validation, ScoreRequest(disabled=comparison.disabled), classes=256), comparison
    )
    assert measured.accuracy == pytest.approx(slowly(host, validation)[1], abs=0.02)
    without = slowly(host, validation, {"r0c0"})[1]
    assert measured.measurements[0].contribution == pytest.approx(
        measured.accuracy - without, abs=0.04
    )


@pytest.mark.slow
def test_a_host_over_text_does_not_depend_on_its_neighbours(text, grown_in, play):
    seeds, scripts = [5, 6, 7, 8], [LIFE[:5], [WAIT] * 5, LIFE[1:6], LIFE[:5]]
    together = play(grown_in(text, n_envs=4), seeds, scripts)
    for index in (0, 3):
        alone = play(grown_in(text), [seeds[index]], [scripts[index]])
        for joint, (single,) in zip(together, alone, strict=True):
            assert replace(single, environment=index) == joint[index]


def test_chance_is_a_uniform_guess_among_all_tokens(environment):
    for _ in range(8):
        (report,) = environment.step([WAIT])
    assert report.val_loss < 0.8 * math.log(256)
    episode = environment._episodes[0]
    for group in episode._trainer._optimizer.param_groups:
        group["lr"] = 0.0
    with torch.no_grad():
        host_of(environment).tokens.weight.zero_()
    (report,) = environment.step([WAIT])
    assert report.ended is EpisodeEnd.GOVERNOR
    assert report.rollback.cause is GovernorCause.RETURN_TO_CHANCE
    assert report.rollback.loss == pytest.approx(math.log(256))
    assert report.rollback.threshold == pytest.approx(0.935 * math.log(256))


def split_of(rows: int, length: int | None) -> Split:
    shape = (rows,) if length is None else (rows, length)
    return Split(torch.zeros(shape), torch.zeros(shape, dtype=torch.int64))


def test_a_chunk_has_a_bounded_number_of_logits():
    assert chunk_rows(split_of(5000, None), 10) == CHUNK
    assert chunk_rows(split_of(500, 64), 256) * 64 * 256 == CHUNK_LOGITS
    assert chunk_rows(split_of(10, 256), 50_257) == 1


def test_the_chunk_size_does_not_change_the_scores(environment, text, monkeypatch):
    from esper_tolaria.validation import validate

    (report,) = environment.step([WAIT])
    split = load_dataset(text).validation
    whole = read(
        score(host_of(environment), split, ScoreRequest(disabled=FULL_ONLY.disabled), classes=256),
        FULL_ONLY,
    )
    monkeypatch.setattr(validate, "CHUNK_LOGITS", 64 * 256 * 7)
    parts = read(
        score(host_of(environment), split, ScoreRequest(disabled=FULL_ONLY.disabled), classes=256),
        FULL_ONLY,
    )
    assert parts.accuracy == whole.accuracy == report.val_accuracy
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
