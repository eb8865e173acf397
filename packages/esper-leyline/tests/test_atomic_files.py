"""Files are replaced whole or not at all, also when the process is killed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from esper_leyline import write_atomically

WRITER = """
import sys
from pathlib import Path
from esper_leyline import write_atomically

path, size = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
for number in range(10**9):
    write_atomically(path, bytes([number % 256]) * size)
"""


def test_new_content_replaces_the_old(tmp_path):
    path = tmp_path / "file"
    for content in (b"first", b"", b"x" * 100_000):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_files_of_an_earlier_crash_do_not_disturb(tmp_path):
    path = tmp_path / "file"
    (tmp_path / "file.0123abcd.partial").write_text("half")
    write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("unnamed", [True, False])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, unnamed):
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    path = tmp_path / "file"
    write_atomically(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_atomically(path, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_writing_into_a_missing_folder_raises_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "nowhere" / "file", b"x")


RIVAL = """
import sys
from pathlib import Path
from esper_leyline import write_atomically

if sys.argv[2] == "named":
    import os
    del os.O_TMPFILE
print("ready", flush=True)
sys.stdin.readline()
for number in range(150):
    write_atomically(Path(sys.argv[1]), b"x" * 100)
"""


@pytest.mark.parametrize("how", ["unnamed", "named"])
def test_two_processes_that_write_one_file_do_not_disturb_each_other(tmp_path, how):
    path = tmp_path / "file"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    rivals = [
        subprocess.Popen([sys.executable, "-c", RIVAL, str(path), how], text=True, **pipes)
        for _ in range(2)
    ]
    for rival in rivals:
        assert rival.stdout.readline() == "ready\n"
    for rival in rivals:
        rival.stdin.write("\n")
        rival.stdin.flush()
    errors = [rival.communicate()[1] for rival in rivals]
    assert errors == ["", ""]
    assert path.read_bytes() == b"x" * 100
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


HALF_DONE = """
import sys, time
from pathlib import Path
from esper_leyline.files.atomic import _open_named, _write

_write(_open_named(Path(sys.argv[1])), b"half")
print("ready", flush=True)
time.sleep(600)
"""


def test_only_partial_files_of_killed_processes_are_removed(tmp_path):
    path, part = tmp_path / "file", tmp_path / "file.0123abcd.partial"
    others = [tmp_path / name for name in ("file.old.partial", "file.b.0123abcd.partial")]
    for each in others:
        each.write_text("of something else")
    child = subprocess.Popen(
        [sys.executable, "-c", HALF_DONE, str(part)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    write_atomically(path, b"whole")
    assert part.read_bytes() == b"half"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    write_atomically(path, b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


@pytest.mark.slow
def test_kills_at_any_moment_leave_one_whole_file(tmp_path):
    size, path, leftovers = 3_000_000, tmp_path / "file", 0
    for number in range(8):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(size)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.02 + 0.013 * number)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        if path.exists():
            content = path.read_bytes()
            assert len(content) == size
            assert content == content[:1] * size
        parts = [each for each in tmp_path.iterdir() if each != path]
        assert all(each.stat().st_size == size for each in parts)
        leftovers += len(parts)
    # A complete file has another name for some microseconds; the next write removes it.
    assert leftovers <= 2
    write_atomically(path, b"next")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
