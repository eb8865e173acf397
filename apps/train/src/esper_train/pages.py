"""The page of a run: ``--overwatch`` on this machine, ``--dashboard`` on the network.

Addresses are bound before the run begins, so that a port in use is known at once. Each server is a
process of its own (``page_server``); if it fails or is killed, training continues.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from esper_karn import echo
from esper_leyline import TrainingConfig
from esper_leyline.events import kinds_written
from esper_leyline.extras import require_extra
from esper_leyline.numbers import check_port
from esper_train.errors import TrainError
from esper_train.settings.options import TelemetryOptions
from esper_train.settings.resolve import Plan

if TYPE_CHECKING:
    from esper_karn.web.serve import Binding

ENDING_SECONDS = 5.0
"""Seconds that a server may take to stop."""

_LIBRARIES = ("starlette", "uvicorn", "websockets", "psutil")


def check_pages(telemetry: TelemetryOptions, config: TrainingConfig) -> None:
    """Checks the flags of the page before anything is created.

    Raises:
        EsperError: If there is nothing to show, a port is given without its server, or the
            libraries are missing.
    """
    for flag, wanted, port in (
        ("--overwatch", telemetry.overwatch, telemetry.overwatch_port),
        ("--dashboard", telemetry.dashboard, telemetry.dashboard_port),
    ):
        if not wanted and port is not None:
            raise TrainError(
                f"{flag}-port says where {flag} listens; give {flag} too, or leave it out"
            )
        if wanted and not kinds_written(config.telemetry):
            raise TrainError(
                f"{flag} shows the telemetry of a run, and --telemetry-level off writes none; "
                "use minimal, normal or debug"
            )
        if wanted and port is not None:
            check_port(f"{flag}-port", port)
        if wanted:
            require_extra(flag, _LIBRARIES, extra="web", distribution="esper-overwatch")


def without_compiling(plan: Plan, telemetry: TelemetryOptions) -> Plan:
    """Returns a plan that compiles nothing with a page or Sanctum open, unless that is forced."""
    if plan.compile_mode is None or plan.config.compile.force or not telemetry.interfaces:
        return plan
    note = f"compile: nothing with {telemetry.interfaces[0]}; --force-compile compiles anyway"
    kept = tuple(each for each in plan.notes if not each.startswith("compile: "))
    return replace(plan, compile_mode=None, notes=(*kept, note))


@dataclass(frozen=True, slots=True)
class _Page:
    name: str
    binding: Binding


class Pages:
    """The servers of a run; none if no flag asks for one.

    Args:
        telemetry: The flags.

    Raises:
        KarnError: If a port is taken or not permitted.
    """

    def __init__(self, telemetry: TelemetryOptions) -> None:
        self._pages: list[_Page] = []
        self._processes: list[subprocess.Popen[str]] = []
        try:
            if telemetry.overwatch:
                self._bind("Overwatch", telemetry.overwatch_port, 8080, everywhere=False)
            if telemetry.dashboard:
                self._bind("dashboard", telemetry.dashboard_port, 8000, everywhere=True)
        except BaseException:
            self.close()
            raise

    def __bool__(self) -> bool:
        return bool(self._pages)

    def start(self, folder: Path, run: str | None = None) -> None:
        """Starts the servers, and prints a link for each address.

        Args:
            folder: The folder of runs that they show.
            run: The run that the links open, ``None`` for the list.
        """
        for page in self._pages:
            self._processes.append(_start(page.binding, folder))
            # Only the server holds it now: a browser is refused at once if the server dies.
            page.binding.listener.close()
            for link in page.binding.links(run):
                echo(f"{page.name}: {link}")

    def close(self) -> None:
        """Stops the servers."""
        for page in self._pages:
            page.binding.listener.close()
        for process in self._processes:
            try:
                process.communicate(timeout=ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._pages, self._processes = [], []

    def _bind(self, name: str, port: int | None, default: int, *, everywhere: bool) -> None:
        from esper_karn.web.serve import bind_server

        binding = bind_server(default if port is None else port, everywhere=everywhere)
        self._pages.append(_Page(name, binding))


def _start(binding: Binding, root: Path) -> subprocess.Popen[str]:
    listener, access = binding.listener, binding.access
    process = subprocess.Popen(
        [sys.executable, "-m", "esper_train.page_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        pass_fds=(listener.fileno(),),
        # In its own process group: Ctrl-C does not reach it.
        process_group=0,
    )
    # Not among the arguments, which other users of the machine can list.
    words = {
        "descriptor": listener.fileno(),
        "token": access.token,
        "port": access.port,
        "hosts": sorted(access.hosts),
        "addresses": binding.addresses,
        "root": str(root),
    }
    assert process.stdin is not None
    process.stdin.write(json.dumps(words) + "\n")
    process.stdin.flush()
    return process
