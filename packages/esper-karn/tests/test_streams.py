"""Output to streams that are closed, or whose reader is gone, is discarded."""

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
def test_a_program_ends_as_it_would_have(tmp_path, redirection):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM, encoding="utf-8")
    log = tmp_path / "log"
    line = f"set -o pipefail; '{sys.executable}' '{script}' '{log}' {redirection}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr in {"late\n", ""}
    assert log.read_text(encoding="utf-8") == "True"
