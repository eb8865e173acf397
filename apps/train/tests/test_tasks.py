"""``esper-train tasks``, and the tasks that it lists."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from esper_karn import EventReader
from esper_tolaria import data_is_here, find_task, task_names
from esper_train import main
from esper_train.timing import epoch_seconds

EMBEDDED = (
    "mnist1d",
    "mnist1d_blind",
    "mnist1d_shuffled",
    "digits",
    "topics",
    "fashion_mnist",
    "fashion_mnist_blind",
)


def table(output: str) -> list[list[str]]:
    """The cells of the table, which are two blanks apart."""
    return [re.split(r" {2,}", line) for line in table_lines(output)]


def table_lines(output: str) -> list[str]:
    """What stands above the legend, which names a folder as long as it is."""
    return output.split("\n\n", maxsplit=1)[0].splitlines()


@pytest.fixture
def listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["tasks", "--no-time", "--data-root", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_every_task_has_a_line_that_fits_80_columns(listed: str) -> None:
    assert max(map(len, table_lines(listed))) <= 80
    head, *rows = table(listed)
    assert head == ["task", "host", "parameters", "rows", "here"]
    assert [row[0] for row in rows] == list(task_names())


def test_a_line_describes_a_task(listed: str, tmp_path: Path) -> None:
    rows = {row[0]: row[1:] for row in table(listed)}
    assert rows["mnist1d_blind"] == ["cnn 16-16-16 k1", "794", "2k/1k/1k", "yes"]
    assert rows["digits"] == ["mlp 8-8-8", "802", "1k/397/400", "yes"]
    assert rows["cifar10"] == ["cnn 8-16-32", "6,418", "45k/5k/10k", "no"]
    assert rows["tinystories"] == ["gpt 6 x 384", "30,044,544", "100k/1k/1k", "no"]
    for name in task_names():
        here = data_is_here(find_task(name).spec, tmp_path)
        assert rows[name][-1] == ("yes" if here else "no")


def test_without_a_measurement_there_is_no_epoch_column(listed: str) -> None:
    assert "epoch" not in listed


def test_an_epoch_is_measured_on_whole_batches(tmp_path: Path) -> None:
    for name in ("digits", "topics"):
        seconds = epoch_seconds(find_task(name).spec, device="cpu", data_root=str(tmp_path))
        assert 0 < seconds < math.inf


@pytest.mark.parametrize(
    ("name", "batches"), [("digits", 20), ("topics", 50), ("cifar10", 88), ("mnist1d", 20)]
)
def test_an_epoch_has_as_many_batches_as_its_task_says(name: str, batches: int) -> None:
    task = find_task(name).spec
    assert task.training.batches(task.data.train_size) == batches


@pytest.mark.parametrize("columns", ["80", "12"])
def test_a_row_is_printed_as_soon_as_its_task_is_measured(
    columns: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    printed: list[str] = []

    def measure(task, device: str, root: str) -> str:
        printed.append(capsys.readouterr().out)
        return f"{len(printed)}.5 s"

    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("esper_train.commands.tasks._measure", measure)
    assert main(["tasks", "--device", "cpu", "--data-root", str(tmp_path)]) == 0
    assert len(printed) == len(task_names())
    for number, text in enumerate(printed[1:], start=1):
        assert f"{number}.5 s" in text
    assert capsys.readouterr().out.splitlines()[0].endswith(f"{len(task_names())}.5 s")


@pytest.mark.slow
def test_times_are_measured_where_the_data_is_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tasks", "--device", "cpu", "--data-root", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert max(map(len, table_lines(output))) <= 80
    head, *rows = table(output)
    assert head[-1] == "epoch"
    for row in rows:
        assert re.fullmatch(r"[\d.]+ s" if row[-2] == "yes" else "-", row[-1])


def test_a_missing_device_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "--device", "cuda:77"]) == 2
    assert "cuda:77" in capsys.readouterr().err


def test_a_mistyped_flag_leads_to_the_commands_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "--no-tim"]) == 2
    assert "esper-train tasks --help" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", EMBEDDED)
def test_the_heuristic_grows_on_every_embedded_task(run_here, name: str, tmp_path: Path) -> None:
    if not data_is_here(find_task(name).spec, tmp_path):
        pytest.skip("apt-get install dataset-fashion-mnist")
    done = run_here(
        tmp_path / "runs",
        *("heuristic", "--task", name, "--device", "cpu", "--seed", "1"),
        *("--max-epochs", "10", "--max-batches", "10", "--data-root", str(tmp_path)),
    )
    with EventReader(done.directory / "events.jsonl") as reader:
        events = list(reader.read())
    decisions = [event.payload for event in events if event.kind == "decision"]
    assert len(decisions) == 10
    assert all(decision.succeeded for decision in decisions)
    assert done.summary.rounds[0].germinated >= 1
    assert done.summary.mean_test_accuracy > 0


@pytest.mark.slow
def test_nothing_is_fossilized_below_the_improvement_asked_for(run_here, tmp_path: Path) -> None:
    grown = {}
    for points in ("0.5", "99"):
        done = run_here(
            tmp_path / points,
            *("heuristic", "--task", "mnist1d_blind", "--device", "cpu", "--seed", "1"),
            *("--max-epochs", "30", "--min-fossilize-improvement", points),
        )
        grown[points] = done.summary.rounds[0].fossilized
    assert grown["0.5"] >= 1
    assert grown["99"] == 0
