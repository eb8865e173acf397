"""The page in a real browser, over a real server, with a run in every state."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from .page_runs import every_state, write_many

PAGE = Path(__file__).parents[1] / "page"
CHROMIUM = shutil.which("chromium")
PROGRAM = [sys.executable, "-c", "import sys; from esper_overwatch import main; sys.exit(main())"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serves a folder of runs; gives the link."""
    command = [*PROGRAM, "web", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().split()[-1]
        finally:
            server.terminate()


def test_the_page_in_a_browser(tmp_path, monkeypatch):
    assert CHROMIUM is not None, "install chromium, for example: apt-get install chromium"
    assert (PAGE / "node_modules").is_dir(), "run: npm ci, in apps/overwatch/page"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    runs, many, empty = (tmp_path / name for name in ("runs", "many", "empty"))
    empty.mkdir()
    write_many(many, 1000)
    with ExitStack() as stack:
        stack.enter_context(every_state(runs))
        link = stack.enter_context(serving(runs))
        many_link = stack.enter_context(serving(many))
        empty_link = stack.enter_context(serving(empty))
        done = subprocess.run(
            [
                *("node", "--test", "--test-reporter=spec", "--test-concurrency=1"),
                *sorted(str(path) for path in (PAGE / "tests/browser").glob("*.test.mjs")),
            ],
            cwd=PAGE,
            env=os.environ
            | {
                "OVERWATCH_LINK": link,
                "OVERWATCH_LINK_MANY": many_link,
                "OVERWATCH_LINK_EMPTY": empty_link,
                "OVERWATCH_COMMAND": json.dumps([*PROGRAM, "web"]),
                "OVERWATCH_RUNS": str(runs),
                "CHROMIUM": CHROMIUM,
            },
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
