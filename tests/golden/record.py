"""Records small real logs, which the tests of every interface replay.

``uv run --no-sync python tests/golden/record.py [NAME...]`` writes ``tests/golden/NAME.jsonl.gz``:

- ``default``: three rounds of the default run.
- ``sixteen``: 16 hosts of 150 epochs each.
- ``crashed``: a run that was killed in its second round.
- ``everything``: every kind of event and every stage of a seed, made by ``everything.py``.

Record them again when ``SCHEMA_VERSION`` changes. A log of a million events is made by
``million.py`` when a test needs it.
"""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

FOLDER = Path(__file__).parent

sys.path.insert(0, str(FOLDER))

from everything import record_everything  # noqa: E402

SHORT = ("--device", "cpu", "--no-tui", "--max-batches", "1", "--memory-size", "16")


def main(names: list[str]) -> int:
    """Records the logs that are named, or all of them."""
    unknown = set(names) - set(RECORDERS)
    if unknown:
        print(
            f"error: no log is called {', '.join(sorted(unknown))}; names: {', '.join(RECORDERS)}"
        )
        return 2
    for name in names or RECORDERS:
        with tempfile.TemporaryDirectory() as folder:
            content = RECORDERS[name](Path(folder))
        target = FOLDER / f"{name}.jsonl.gz"
        # Without a time stamp, so that the same log is the same file.
        target.write_bytes(gzip.compress(content, 9, mtime=0))
        lines, size = len(content.splitlines()), target.stat().st_size
        print(f"{name}: {lines:,} events, {size:,} bytes", flush=True)
    return 0


def record_default(folder: Path) -> bytes:
    """Returns the log of the default run."""
    return _finished(folder, "--rounds", "3")


def record_sixteen(folder: Path) -> bytes:
    """Returns the log of one round with 16 hosts."""
    flags = ("--rounds", "1", "--episode-length", "150", "--set", "n_envs=16")
    return _finished(folder, *flags, "--workers", "1", *SHORT)


def record_crashed(folder: Path) -> bytes:
    """Returns the log of a run that was killed in its second round."""
    flags = ("--rounds", "4", "--episode-length", "24", "--set", "n_envs=2", "--workers", "1")
    with subprocess.Popen(
        _command(folder, *flags, *SHORT), stdout=subprocess.DEVNULL, start_new_session=True
    ) as trainer:
        try:
            log = _wait_for(folder, trainer, b'"round":2,"epoch":5')
        finally:
            if trainer.poll() is None:
                os.killpg(trainer.pid, signal.SIGKILL)
    return log.read_bytes()


def _finished(folder: Path, *flags: str) -> bytes:
    subprocess.run(_command(folder, *flags), stdout=subprocess.DEVNULL, check=True)
    (log,) = folder.glob("*/events.jsonl")
    return log.read_bytes()


def _command(folder: Path, *flags: str) -> list[str]:
    program = "import sys, esper_train; sys.exit(esper_train.main(sys.argv[1:]))"
    return [sys.executable, "-c", program, "ppo", "--runs", str(folder), *flags]


def _wait_for(folder: Path, trainer: subprocess.Popen[bytes], text: bytes) -> Path:
    while trainer.poll() is None:
        for log in folder.glob("*/events.jsonl"):
            if text in log.read_bytes():
                return log
        time.sleep(0.2)
    raise SystemExit(f"error: the trainer ended with {trainer.returncode} before {text!r}")


RECORDERS: Mapping[str, Callable[[Path], bytes]] = {
    "default": record_default,
    "sixteen": record_sixteen,
    "crashed": record_crashed,
    "everything": record_everything,
}

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
