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


def test_a_leftover_of_an_earlier_crash_is_no_obstacle(tmp_path):
    path = tmp_path / "file"
    (tmp_path / "file.partial").write_text("half")
    write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("unnamed", [True, False])
def test_what_does_not_fit_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, unnamed):
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


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "nowhere" / "file", b"x")


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
        assert {each.name for each in tmp_path.iterdir()} <= {"file", "file.partial"}
        leftovers += (tmp_path / "file.partial").exists()
    # A complete file has another name for some microseconds; the next write removes it.
    assert leftovers <= 2
    write_atomically(path, b"next")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
