"""Output to closed streams is discarded."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pathlib import Path
from esper_karn import guard_streams
guard_streams()
for number in range(20_000):
    sys.stdout.write("a line that fills the pipe\\n")
    sys.stdout.flush()
log = open(sys.argv[1], "w")
sys.stderr.write("late\\n")
log.write(f"{log.fileno() > 2}")
log.close()
raise SystemExit(3)
"""


@pytest.mark.parametrize(
    "redirection", ["| head -n 2", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "> /dev/full"]
)
def test_a_program_ends_normally_with_closed_streams(tmp_path, redirection):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM, encoding="utf-8")
    log = tmp_path / "log"
    line = f"set -o pipefail; '{sys.executable}' '{script}' '{log}' {redirection}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr in {"late\n", ""}
    assert log.read_text(encoding="utf-8") == "True"


LISTING = """
import sys
from esper_karn import guard_streams, output_failure, echo
guard_streams()
for number in range(5_000):
    echo("a line that fills the pipe")
sys.stderr.write(f"lost: {output_failure()}\\n")
"""


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [
        ("> /dev/full", "No space left on device"),
        ("> /dev/null", "None"),
        ("| head -n 2", "None"),
        (">&-", "None"),
    ],
)
def test_output_that_could_not_be_written_is_reported(tmp_path, redirection, reason):
    script = tmp_path / "program.py"
    script.write_text(LISTING, encoding="utf-8")
    line = f"'{sys.executable}' '{script}' {redirection}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.stderr == f"lost: {reason}\n"


def test_characters_that_the_stream_lacks_are_escaped(tmp_path):
    script = tmp_path / "program.py"
    script.write_text("from esper_karn import *\nguard_streams()\necho('10–20')\n")
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        check=True,
        env={"PYTHONIOENCODING": "ascii"},
    )
    assert done.stdout == b"10\\u201320\n"


@pytest.mark.parametrize("first", ["raise", "parse"])
def test_output_of_libraries_on_standard_error_is_escaped(tmp_path, first):
    script = tmp_path / "program.py"
    lines = [
        "import argparse, sys",
        "from esper_karn import guard_streams",
        "guard_streams()",
        "if sys.argv[1] == 'raise':",
        "    raise ValueError(sys.argv[2])",
        "argparse.ArgumentParser().parse_args()",
    ]
    script.write_text("\n".join(lines), encoding="utf-8")
    command = [sys.executable, script, first, "--\x1b[31m\x9b\r\u202e"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "\\x1b[31m\\x9b\\r\\u202e" in done.stderr
    assert all(line.isprintable() for line in done.stderr.split("\n"))
