"""The newest run of a folder is the one whose trainer started last."""

from __future__ import annotations

from pathlib import Path

import pytest

from esper_karn.errors import KarnError
from esper_karn.runs.folder import newest_run
from esper_leyline.run_lock import owner_here


def begin(folder: Path, name: str, **changes: object) -> Path:
    """Makes a run directory as a trainer of this machine leaves it."""
    run = folder / name
    run.mkdir()
    (run / "config.json").write_text("{}")
    owner = owner_here("ppo", locked=True).model_copy(update=changes)
    (run / "run.lock").write_text(owner.model_dump_json())
    return run


def test_the_clock_may_have_been_set_back(tmp_path):
    begin(tmp_path, "20260102-000000-digits-aa", started=2e9)
    second = begin(tmp_path, "20260101-000000-digits-bb", started=1e9)
    assert newest_run(tmp_path) == second


def test_runs_without_a_lock_are_older_and_ordered_by_name(tmp_path):
    for name in ("b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "events.jsonl").write_text("")
    assert newest_run(tmp_path) == tmp_path / "c"
    locked = begin(tmp_path, "a")
    assert newest_run(tmp_path) == locked


def test_a_folder_without_runs_has_none(tmp_path):
    (tmp_path / "notes").mkdir()
    assert newest_run(tmp_path) is None
    assert newest_run(tmp_path / "nowhere") is None


def test_a_path_that_is_no_folder_is_one_line(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(KarnError, match=r"cannot list runs in '.*file': Not a directory"):
        newest_run(file)
