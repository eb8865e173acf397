"""Where a run's log is, and its lines from the end, by comparison with reading it whole."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import LeylineError, run_files
from esper_leyline.run_files import LOG_FILE, POINTER_FILE, lines_backwards, locate_log


def test_a_log_is_in_its_run_or_where_the_pointer_says(tmp_path):
    assert locate_log(tmp_path) == tmp_path / LOG_FILE
    (tmp_path / POINTER_FILE).write_text("/elsewhere/run.jsonl\n")
    assert str(locate_log(tmp_path)) == "/elsewhere/run.jsonl"
    (tmp_path / POINTER_FILE).write_text("beside.jsonl")
    assert locate_log(tmp_path) == tmp_path / "beside.jsonl"


@pytest.mark.parametrize("content", [b"", b" \n", b"a\0b", b"x" * (run_files.POINTER_LIMIT + 1)])
def test_a_pointer_without_a_path_is_refused(tmp_path, content):
    (tmp_path / POINTER_FILE).write_bytes(content)
    reason = "it (holds no path of a log|has more than 65,536 bytes)"
    with pytest.raises(LeylineError, match=rf"events\.path': {reason}"):
        locate_log(tmp_path)


def test_a_pointer_that_cannot_be_read_is_named(tmp_path):
    os.mkfifo(tmp_path / POINTER_FILE)
    with pytest.raises(LeylineError, match=r"cannot read '.*events\.path': it is a named pipe"):
        locate_log(tmp_path)


contents = st.lists(st.sampled_from([b"\n", b"a", b"bc", b"d" * 9, b""]), max_size=40).map(b"".join)


@given(content=contents, block=st.integers(1, 12), limit=st.integers(1, 12))
def test_lines_come_from_the_end_for_any_block_size(content, block, limit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_files, "_BLOCK", block)
        patch.setattr(run_files, "MAX_LINE", limit)
        complete = list(lines_backwards(io.BytesIO(content), unfinished=False))
        every = list(lines_backwards(io.BytesIO(content), unfinished=True))
    *lines, rest = content.split(b"\n")
    shown = [line if len(line) <= limit else None for line in reversed(lines)]
    assert complete == shown
    last = rest if len(rest) <= limit else None
    assert every == ([last, *shown] if rest else shown)


@given(content=contents, within=st.integers(0, 60), block=st.integers(1, 12))
def test_only_complete_lines_of_the_last_bytes_are_read(content, within, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_files, "_BLOCK", block)
        found = list(lines_backwards(io.BytesIO(content), unfinished=False, within=within))
    start = max(0, len(content) - within)
    lines = content[start:].split(b"\n")[1 if start else 0 : -1]
    assert found == lines[::-1]
