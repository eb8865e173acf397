"""What the server answers, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from esper_karn.comparison.comparison import RunComparison
from esper_karn.runs.listing import RunsList, list_runs
from esper_karn.runs.records import RunPeek, peek
from esper_karn.views.frame import encode_frame
from esper_karn.web.library import Library
from esper_karn.web.open_runs import OlderLines, OpenRun, OpenRuns
from esper_karn.web.requests import FrameRequest, LogRequest
from esper_leyline.run_files import LOG_FILE, POINTER_FILE, SUMMARY_FILE

_RUNS = TypeAdapter(RunsList)
_COMPARISON = TypeAdapter(RunComparison)
_OLDER_LINES = TypeAdapter(OlderLines)


def answer_frame(run: OpenRun, asked: FrameRequest) -> bytes:
    """Returns a frame, with what was asked for and the share of the log that is read.

    Raises:
        KarnError: If there is no such view, or the log cannot be read.
    """
    frame = encode_frame(run.frame(asked))
    head = json.dumps({"run": asked.run, "view": asked.view, "read": run.share})
    return f"{head[:-1]},".encode() + frame[1:]


def answer_log(run: OpenRun, asked: LogRequest) -> bytes:
    """Returns lines of the log that are older than those of its panel.

    Raises:
        KarnError: If the log cannot be read.
    """
    return _OLDER_LINES.dump_json(run.older_lines(asked))


def answer_comparison(runs: OpenRuns, directories: Sequence[Path]) -> bytes:
    """Returns a comparison of runs; the first one is the baseline of paired differences.

    Raises:
        KarnError: If they cannot be compared, or a log cannot be read.
    """
    return _COMPARISON.dump_json(runs.compare(directories))


@dataclass(slots=True)
class RunsAnswer:
    """The list of runs; a run whose files did not change is not read again.

    Args:
        library: The runs.
    """

    library: Library
    _peeks: dict[Path, tuple[object, RunPeek]] = field(default_factory=dict)

    def answer(self, now: float) -> bytes:
        """Returns the list of runs, the latest first.

        Args:
            now: Unix time.

        Raises:
            KarnError: If the folder cannot be read.
        """
        found = self.library.runs()
        self._peeks = {path: self._peek(path) for path in found.values()}
        peeks = [peek for _, peek in self._peeks.values()]
        peeks.sort(key=lambda each: each.run_id, reverse=True)
        listed = _RUNS.dump_python(list_runs(peeks, now), mode="json")
        return json.dumps({"root": str(self.library.root), **listed}).encode()

    def _peek(self, path: Path) -> tuple[object, RunPeek]:
        mark = _mark(path)
        known = self._peeks.get(path)
        # The lock of a run without an end may be released although no file changes.
        if known is not None and known[0] == mark and known[1].ended:
            return known
        return mark, peek(path)


def _mark(run: Path) -> Mapping[str, tuple[int, int]]:
    """Returns the sizes and times of the files of a run."""
    marks = {}
    for name in (LOG_FILE, SUMMARY_FILE, POINTER_FILE):
        try:
            found = (run / name).stat()
        except OSError:
            continue
        marks[name] = (found.st_size, found.st_mtime_ns)
    return marks
