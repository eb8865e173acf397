"""What the page's server costs: ``uv run --no-sync python tests/benchmarks/interfaces.py``.

- From an event to the frame that shows it, with 16 hosts and 12 charts, over a real socket of a
  real server: an event is appended to a log, and the time until the frame with it has come is
  taken. Beside each one, in the same run, a message goes to a server that echoes it: the ratio of
  the two says more than milliseconds where other programs run. The server looks at a log 20 times
  a second, so at best the times lie evenly between 0 and 50 ms.
- Encoding the panels of 16 hosts.
- A list of 1,000 runs, beyond the start of the command, and as the server answers it.
- Opening a log of a million events for the first time, again with its snapshots, and going to a
  moment of it; how much memory the server takes for that.
- A browser that asks and never reads: what others then wait, and what the server keeps for it.

Prints whether each bar of the contract is reached, and writes ``interfaces.txt`` beside it. It
takes about three minutes on two idle cores.
"""

from __future__ import annotations

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
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from analytics import best, make_runs
from report import Report
from websockets.sync.client import ClientConnection, connect

from esper_karn import EventReader, encode_frame, fold, frame

sys.path.insert(0, str(Path(__file__).parents[1] / "golden"))
from million import read_golden, write_repeated

RESULTS = Path(__file__).with_suffix(".txt")
PROGRAM = Path(sys.executable).with_name("esper-overwatch")
VIEW = "run,charts,host/0"
EVENTS = 300
"""Events of which the way to a browser is timed."""

MILLION = 1_000_000
ECHO = """
from websockets.sync.server import serve

def echo(socket):
    for message in socket:
        socket.send(message)

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

    def ask(self) -> None:
        """Asks for what changed."""
        self._socket.send(json.dumps({"run": self._run, "view": VIEW, **self._known}))

    def take(self) -> int:
        """Waits for the frame; returns the sequence number of its last event."""
        frame = json.loads(self._socket.recv())
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
    log_of_all, run = folder / "whole.jsonl", folder / "frames" / "sixteen"
    write_repeated("sixteen", log_of_all, 22_000)
    lines = log_of_all.read_bytes().splitlines(keepends=True)
    start = len(lines) - 2 * EVENTS
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}")
    (run / "events.jsonl").write_bytes(b"".join(lines[:start]))
    with (
        Server(folder / "frames", folder / "cache") as server,
        echoing() as echo,
        server.connect() as socket,
        (run / "events.jsonl").open("ab", buffering=0) as log,
    ):
        viewer = Viewer(socket, "sixteen")
        viewer.catch_up()
        whole = server.get("/api/runs/sixteen/frame?view=charts")["panels"]["charts"]
        charts = len(whole["value"]["charts"])
        assert charts >= 12, charts
        report.say(f"16 hosts, {charts} charts, {EVENTS} events, one at a time")
        alone = times_of_events(viewer, log, lines[start : start + EVENTS], echo)
        report_times(report, "event to frame", alone, 150)
        with server.connect() as stalled:
            before = server.memory
            for _ in range(1000):
                stalled.send(json.dumps({"run": "sixteen", "view": VIEW}))
            beside = times_of_events(viewer, log, lines[start + EVENTS :], echo)
            report_times(report, "the same beside a browser that never reads", beside, 150)
            report.bar("memory for that browser", server.memory - before, 16, unit="MB")


def times_of_events(
    viewer: Viewer, log: Any, lines: list[bytes], echo: ClientConnection
) -> tuple[list[float], list[float]]:
    """Appends lines to a log; returns the milliseconds of each frame and of each echo."""
    frames, echoes = [], []
    for number, line in enumerate(lines):
        viewer.ask()
        time.sleep(0.013 * (number % 9))  # at every point of the server's waits
        began = time.perf_counter()
        log.write(line)
        viewer.take()
        frames.append(1e3 * (time.perf_counter() - began))
        began = time.perf_counter()
        echo.send(line.decode())
        echo.recv()
        echoes.append(1e3 * (time.perf_counter() - began))
    return frames, echoes


def report_times(
    report: Report, name: str, times: tuple[list[float], list[float]], bar: float
) -> None:
    """Says the percentiles of frames, and their ratio to those of the echo."""
    frames, echoes = (statistics.quantiles(each, n=100) for each in times)
    report.bar(f"{name}, p95", frames[94], bar, unit="ms")
    report.say(
        f"  median {frames[49]:.1f} ms, p99 {frames[98]:.1f} ms; echo p95 {echoes[94]:.2f} ms, "
        f"ratio of p95 {frames[94] / echoes[94]:.0f}"
    )


@contextmanager
def echoing() -> Iterator[ClientConnection]:
    """Gives a connection to a server that echoes, in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", ECHO], stdout=subprocess.PIPE, text=True
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


def main() -> int:
    """Measures everything; returns the number of bars that were not reached."""
    report = Report()
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    report.say(f"load of the machine before: {load} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        for measure in (measure_frames, measure_encoding, measure_list, measure_million):
            folder = Path(name) / measure.__name__
            folder.mkdir()
            measure(report, folder)
    report.say(f"bars not reached: {report.missed}")
    RESULTS.write_text("\n".join(report.lines) + "\n", encoding="utf-8")
    return report.missed


if __name__ == "__main__":
    sys.exit(min(1, main()))
