"""What interfaces cost: ``uv run --no-sync python tests/benchmarks/interfaces.py [PART...]``.

- From an event to the frame that shows it, with 16 hosts and 12 charts, over a real socket of a
  real server: an event is appended to a log, and the time until the frame with it has come is
  taken. After each one, in the same run, a line is appended to the file of an echo: a server that
  looks at its file as often, and sends as many bytes as a frame has. The server looks at a log 20
  times a second, so at best the times lie evenly between 0 and 50 ms. The ratio of the two is what
  reading, folding, selecting and encoding add; it says more than milliseconds where other programs
  run, and ``.ci/run`` has a test of it.
- Encoding the panels of 16 hosts.
- A list of 1,000 runs, beyond the start of the command, and as the server answers it.
- Opening a log of a million events for the first time, again with its snapshots, and going to a
  moment of it; how much memory the server takes for that.
- A browser that asks and never reads: what others then wait, and what the server keeps for it.

- A frame of the dashboard and of each screen of Sanctum, with 64 hosts: ``terminals.py``.

Prints whether each bar of the contract is reached, and writes ``interfaces.txt`` beside it; a part
that is not named keeps its last results there. It takes about four minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import psutil
from analytics import best, make_runs
from report import Report
from websockets.sync.client import ClientConnection, connect

from esper_karn import EventReader, encode_frame, fold, frame
from esper_karn.web.frames import POLL

sys.path.insert(0, str(Path(__file__).parents[1] / "golden"))
from million import read_golden, write_repeated
from terminals import measure_rich, measure_sanctum

RESULTS = Path(__file__).with_suffix(".txt")
PROGRAM = Path(sys.executable).with_name("esper-overwatch")
VIEW = "run,charts,host/0"
EVENTS = 300
"""Events of which the way to a browser is timed."""

MILLION = 1_000_000
ECHO = """
import sys
import time
from websockets.sync.server import serve

path, poll, size = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])

def echo(socket):
    with open(path, "rb") as file:
        file.seek(0, 2)
        for _ in socket:
            while not file.readline():
                time.sleep(poll)
            socket.send("x" * size)

with serve(echo, "127.0.0.1", 0) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
"""


class Server:
    """``esper-overwatch web`` over a folder of runs, in a process of its own.

    Args:
        runs: The folder.
        cache: Where snapshots go.
    """

    def __init__(self, runs: Path, cache: Path) -> None:
        self._process = subprocess.Popen(
            [PROGRAM, "web", str(runs), "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        )
        assert self._process.stdout is not None
        link = self._process.stdout.readline().split()[-1]
        self._address = urlsplit(link).netloc
        connection = http.client.HTTPConnection(self._address)
        connection.request("GET", link[link.index("/?") :])
        self._cookie = connection.getresponse().headers["set-cookie"].partition(";")[0]
        connection.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def get(self, path: str) -> dict[str, Any]:
        """Returns an answer."""
        connection = http.client.HTTPConnection(self._address)
        connection.request("GET", path, headers={"Cookie": self._cookie})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        assert response.status == 200, text
        return json.loads(text)

    def connect(self) -> ClientConnection:
        """Opens a socket as the page does."""
        return connect(
            f"ws://{self._address}/ws",
            origin=f"http://{self._address}",
            additional_headers={"Cookie": self._cookie},
            max_size=None,
            proxy=None,
        )

    @property
    def memory(self) -> float:
        """Memory of the process, in MB."""
        return psutil.Process(self._process.pid).memory_info().rss / 1e6


class Viewer:
    """A browser that looks at a run: it asks, takes the frame, and asks again."""

    def __init__(self, socket: ClientConnection, run: str) -> None:
        self._socket = socket
        self._run = run
        self._known: dict[str, Any] = {"from": -1}
        self.size = 0

    def ask(self) -> None:
        """Asks for what changed."""
        self._socket.send(json.dumps({"run": self._run, "view": VIEW, **self._known}))

    def take(self) -> int:
        """Waits for the frame; returns the sequence number of its last event."""
        text = self._socket.recv()
        self.size = len(text)
        frame = json.loads(text)
        self._known = {"from": frame["to"], "stream": frame["stream"]}
        return int(frame["to"])

    def catch_up(self) -> int:
        """Asks until the whole log is read; returns the last sequence number."""
        last = -2
        while True:
            self.ask()
            last, before = self.take(), last
            if last == before:
                return last


def measure_frames(report: Report, folder: Path) -> None:
    """Times the way of events to a browser, and to another one beside a stalled one."""
    with watching(folder, 2 * EVENTS) as watched:
        charts = watched.charts()
        assert charts >= 12, charts
        report.say(f"16 hosts, {charts} charts, {EVENTS} events, one at a time")
        report_times(report, "event to frame", watched.times(EVENTS), 150)
        with watched.server.connect() as stalled:
            before = watched.server.memory
            for _ in range(1000):
                stalled.send(json.dumps({"run": "sixteen", "view": VIEW}))
            beside = watched.times(EVENTS)
            report_times(report, "the same beside a browser that never reads", beside, 150)
            report.bar("memory for that browser", watched.server.memory - before, 16, unit="MB")


@dataclass
class Watched:
    """A run of 16 hosts that a browser looks at, and an echo.

    Attributes:
        server: Serves the run.
        viewer: The browser.
        log: The run's log.
        lines: Its lines that are not written yet.
        echo: A connection to the echo.
        echoed: The file of the echo.
    """

    server: Server
    viewer: Viewer
    log: BinaryIO
    lines: list[bytes]
    echo: ClientConnection
    echoed: BinaryIO

    def charts(self) -> int:
        """Returns the number of charts."""
        found = self.server.get("/api/runs/sixteen/frame?view=charts")["panels"]["charts"]
        return len(found["value"]["charts"])

    def times(self, count: int) -> tuple[list[float], list[float]]:
        """Writes events; returns the milliseconds of each frame and of each echo."""
        frames, echoes = [], []
        for number in range(count):
            wait = 0.013 * (number % 9)  # at every point of the server's waits
            self.viewer.ask()
            time.sleep(wait)
            frames.append(1e3 * seconds_of(self._show_event))
            self.echo.send("next")
            time.sleep(wait)
            echoes.append(1e3 * seconds_of(self._echo_line))
        return frames, echoes

    def _show_event(self) -> None:
        self.log.write(self.lines.pop(0))
        self.viewer.take()

    def _echo_line(self) -> None:
        self.echoed.write(b"line\n")
        self.echo.recv()


@contextmanager
def watching(folder: Path, events: int) -> Iterator[Watched]:
    """Opens a run in a browser, up to its last events; gives it with an echo beside it."""
    log_of_all, run = folder / "whole.jsonl", folder / "frames" / "sixteen"
    write_repeated("sixteen", log_of_all, 22_000)
    lines = log_of_all.read_bytes().splitlines(keepends=True)
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}")
    (run / "events.jsonl").write_bytes(b"".join(lines[: -events - 1]))
    with (
        Server(folder / "frames", folder / "cache") as server,
        server.connect() as socket,
        (run / "events.jsonl").open("ab", buffering=0) as log,
        (folder / "echoed").open("ab", buffering=0) as echoed,
    ):
        viewer = Viewer(socket, "sixteen")
        viewer.catch_up()
        viewer.ask()
        log.write(lines[-events - 1])
        viewer.take()
        with echoing(folder / "echoed", viewer.size) as echo:
            yield Watched(server, viewer, log, lines[-events:], echo, echoed)


def report_times(
    report: Report, name: str, times: tuple[list[float], list[float]], bar: float
) -> None:
    """Says the percentiles of frames, and their ratio to those of the echo."""
    frames, echoes = (statistics.quantiles(each, n=100) for each in times)
    report.bar(f"{name}, p95", frames[94], bar, unit="ms")
    report.say(
        f"  median {frames[49]:.1f} ms, p99 {frames[98]:.1f} ms; echo median {echoes[49]:.1f} ms, "
        f"p95 {echoes[94]:.1f} ms; ratio of medians {frames[49] / echoes[49]:.2f}"
    )


@contextmanager
def echoing(path: Path, size: int) -> Iterator[ClientConnection]:
    """Gives a connection to an echo of a file, in a process of its own.

    Args:
        path: The file.
        size: Bytes of an answer.
    """
    with subprocess.Popen(
        [sys.executable, "-c", ECHO, str(path), str(POLL), str(size)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            with connect(f"ws://127.0.0.1:{port}", proxy=None) as socket:
                yield socket
        finally:
            process.kill()


def measure_encoding(report: Report, folder: Path) -> None:
    """Encodes the panels of 16 hosts."""
    log = folder / "encoding.jsonl"
    log.write_bytes(read_golden("sixteen"))
    with EventReader(log) as reader:
        state = fold(reader.read())
    whole = frame(state, "hosts")
    hosts = replace(whole, panels={"hosts": whole.panels["hosts"]})
    seconds = min(seconds_of(lambda: encode_frame(hosts)) for _ in range(200))
    report.bar("encoding 16 hosts", 1e3 * seconds, 1, unit="ms")
    report.bar("their JSON", len(encode_frame(hosts)) / 1e3, 12, unit="kB")
    select = min(seconds_of(lambda: encode_frame(frame(state, "hosts"))) for _ in range(50))
    size = len(encode_frame(whole)) / 1e3
    report.say(
        f"  the whole view of hosts, selected and encoded: {1e3 * select:.2f} ms, {size:.1f} kB"
    )


def measure_list(report: Report, folder: Path) -> None:
    """Lists 1,000 runs in the terminal and over the server."""
    runs = folder / "thousand"
    make_runs(runs)
    one = next(runs.iterdir())
    (folder / "one").mkdir()
    one.rename(folder / "one" / one.name)
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    start = best(["list", str(folder / "one")], environment)
    (folder / "one" / one.name).rename(one)
    listed = best(["list", str(runs)], environment)
    report.bar("list of 1,000 runs beyond start", listed.wall - start.wall, 0.5, unit="s")
    with Server(runs, folder / "cache") as server:
        first = seconds_of(lambda: server.get("/api/runs"))
        time.sleep(1.5)
        report.bar("the same from the server, first", first, 0.5, unit="s")
        report.say(f"  and again: {seconds_of(lambda: server.get('/api/runs')):.2f} s")


def measure_million(report: Report, folder: Path) -> None:
    """Opens a log of a million events, again with snapshots, and goes to moments of it."""
    run = folder / "million" / "a"
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}")
    write_repeated("default", run / "events.jsonl", MILLION)
    size = (run / "events.jsonl").stat().st_size / 1e6
    cache = folder / "snapshots"
    report.say(f"a log of {MILLION:,} events, {size:,.0f} MB")
    with Server(folder / "million", cache) as server:
        server.get("/api/runs")
        before = server.memory
        report.say(f"  opened for the first time: {seconds_of(lambda: open_whole(server)):.1f} s")
        report.bar("memory of the server for it", server.memory - before, 64, unit="MB")
    with Server(folder / "million", cache) as server:
        server.get("/api/runs")
        before = server.memory
        report.bar("opened with snapshots", seconds_of(lambda: open_whole(server)), 2, unit="s")
        seeks = [
            seconds_of(lambda at=at: server.get(f"/api/runs/a/frame?view={VIEW}&at={at}"))
            for at in (559_998, 12_345, 999_000, 305_000, 700_001)
        ]
        report.bar("going to a moment, the slowest of five", max(seeks), 1, unit="s")
        report.bar("memory of the server then", server.memory - before, 64, unit="MB")


def open_whole(server: Server) -> None:
    """Asks for frames until the whole log is read."""
    while server.get(f"/api/runs/a/frame?view={VIEW}")["read"] < 1:
        pass


def seconds_of(work: Callable[[], object]) -> float:
    """Returns how long a piece of work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


PARTS = {
    "frames": measure_frames,
    "encoding": measure_encoding,
    "list": measure_list,
    "million": measure_million,
    "rich": measure_rich,
    "sanctum": measure_sanctum,
}
"""What is measured, by its name."""


def main() -> int:
    """Measures the parts that are named, or all; returns 1 if a bar is not reached."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS])
    names = parser.parse_args().parts or list(PARTS)
    results = read_results()
    missed = 0
    for name in names:
        report = Report()
        load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
        report.say(f"{name}: load before {load} on {os.cpu_count()} cores")
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](report, Path(folder))
        missed += report.missed
        results[name] = "\n".join(report.lines)
        found = [results[each] for each in PARTS if each in results]
        RESULTS.write_text("\n\n".join(found) + "\n", encoding="utf-8")
    print(f"bars not reached: {missed}")
    return min(1, missed)


def read_results() -> dict[str, str]:
    """Returns the results of an earlier run, by part."""
    if not RESULTS.exists():
        return {}
    parts = RESULTS.read_text(encoding="utf-8").strip().split("\n\n")
    return {name: part for part in parts if (name := part.partition(":")[0]) in PARTS}


if __name__ == "__main__":
    sys.exit(main())
