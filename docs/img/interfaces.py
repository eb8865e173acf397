"""Takes pictures of the interfaces: ``uv run --no-sync python docs/img/interfaces.py``.

Writes ``dashboard.svg``, ``hosts.png`` and ``policy.png`` beside this file, from the logs of two
real runs in ``tests/golden``; it takes seconds. It needs Chromium, and ``npm ci`` in
``apps/overwatch/page``.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from esper_karn import Dashboard, EventReader, fold

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
PAGE = ROOT / "apps/overwatch/page"

sys.path.insert(0, str(ROOT / "tests/golden"))
from million import read_golden  # noqa: E402

SIZE = {"width": 1360, "height": 850}


def main() -> None:
    """Takes all pictures."""
    with TemporaryDirectory() as folder:
        default, sixteen = (write_run(Path(folder), name) for name in ("default", "sixteen"))
        draw_dashboard(default)
        take_pictures(
            Path(folder),
            [
                {"path": f"/r/{sixteen.name}?host=8#hosts", "text": "150 epochs"} | to("hosts"),
                {"path": f"/r/{default.name}#policy", "text": "Latest decisions"} | to("policy"),
            ],
        )


def to(name: str) -> dict[str, object]:
    """Returns file and size of a picture."""
    return {"file": str(FOLDER / f"{name}.png"), **SIZE}


def write_run(folder: Path, name: str) -> Path:
    """Writes the directory of a run with a golden log."""
    log = read_golden(name)
    run = folder / json.loads(log.partition(b"\n")[0])["run_id"]
    run.mkdir()
    (run / "config.json").write_text("{}", encoding="utf-8")
    (run / "events.jsonl").write_bytes(log)
    return run


def draw_dashboard(run: Path) -> None:
    """Writes the dashboard of a terminal of 120 columns, in the middle of its last round."""
    with EventReader(run / "events.jsonl") as reader:
        events = list(reader.read())
    state = fold(events[: len(events) * 19 // 20])
    console = Console(record=True, width=120, height=28, force_terminal=True, file=io.StringIO())
    console.print(Dashboard(state), height=28)
    picture = console.export_svg(title="uv run esper-train ppo")
    # Without the fonts that Rich would load from another site.
    picture = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    (FOLDER / "dashboard.svg").write_text(picture, encoding="utf-8")


def take_pictures(runs: Path, wanted: list[dict[str, object]]) -> None:
    """Serves runs, and takes pictures of the page in Chromium."""
    program = Path(sys.executable).with_name("esper-overwatch")
    command = [program, "web", runs, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            link = server.stdout.readline().split()[-1]
            take = ["node", "tests/pictures.mjs", link, json.dumps(wanted)]
            subprocess.run(take, cwd=PAGE, check=True)
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
