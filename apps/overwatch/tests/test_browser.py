"""The page in a real browser, over a real server, with the golden logs."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from esper_leyline.run_lock import RunOwner, this_machine

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "apps/overwatch/page"
GOLDEN = ROOT / "tests/golden"
CHROMIUM = shutil.which("chromium")

SERVER = "import sys; from esper_overwatch import main; sys.exit(main())"

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def write_run(folder: Path, name: str, log: bytes) -> Path:
    run = folder / name
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}", encoding="utf-8")
    (run / "events.jsonl").write_bytes(log)
    return run


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "runs"
    for name in ("default", "sixteen", "everything", "crashed"):
        write_run(folder, name, gzip.decompress((GOLDEN / f"{name}.jsonl.gz").read_bytes()))
    # A lock that no process holds says that the process is gone.
    owner = RunOwner(
        command="ppo", pid=1, host=socket.gethostname(), machine=this_machine(), locked=True
    )
    (folder / "crashed" / "run.lock").write_text(owner.model_dump_json(), encoding="utf-8")
    old = re.sub(
        rb'"schema_version":\d+',
        b'"schema_version":1',
        (folder / "crashed" / "events.jsonl").read_bytes(),
    )
    write_run(folder, "old", old)
    return folder


def test_the_page_in_a_browser(runs, tmp_path):
    assert CHROMIUM is not None, "install chromium, for example: apt-get install chromium"
    assert (PAGE / "node_modules").is_dir(), "run: npm ci, in apps/overwatch/page"
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, "web", str(runs), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
    )
    try:
        link = server.stdout.readline().split()[-1]
        done = subprocess.run(
            [
                "node",
                "--test",
                "--test-reporter=spec",
                "--test-concurrency=1",
                "tests/browser/page.test.mjs",
            ],
            cwd=PAGE,
            env=os.environ
            | {
                "OVERWATCH_LINK": link,
                "OVERWATCH_PROCESS": str(server.pid),
                "CHROMIUM": CHROMIUM,
            },
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    finally:
        server.terminate()
        server.communicate(timeout=30)
