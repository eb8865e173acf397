"""Follows the log of a run, live or finished, and sends it to Weights & Biases."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from esper_karn.errors import KarnError
from esper_karn.log.reader import EventReader, problems_text
from esper_karn.runs.folder import resolve_log
from esper_karn.runs.liveness import STALE_AFTER, Liveness, liveness_of
from esper_karn.state.run import RunState
from esper_karn.weights_and_biases.client import FINISH_SECONDS
from esper_karn.weights_and_biases.exporter import Exporter, Source
from esper_karn.weights_and_biases.options import WandbOptions
from esper_karn.weights_and_biases.time_limit import call_within
from esper_leyline.events import Event
from esper_leyline.run_lock import LockProbe, probe_lock

POLL_SECONDS = 0.5
"""Seconds between two reads of the log."""

GRACE_SECONDS = 10.0
"""Seconds beyond ``FINISH_SECONDS`` after which the library counts as hanging."""


def export_run(
    source: Source,
    options: WandbOptions,
    *,
    stop: Callable[[], bool],
    wait_for_stop: bool,
    say: Callable[[str], None],
) -> Liveness:
    """Sends a run's log as it is and as it grows.

    Args:
        source: The run.
        options: Where it goes.
        stop: Whether to end with what the log holds now.
        wait_for_stop: Whether only ``stop`` ends it. Otherwise it ends with the run: at the end
            in the log, or when the process that trains has crashed.
        say: Takes lines for people: the address of the run, and how to upload the rest.

    Returns:
        Whether the run has ended, has crashed, or may still write its log.

    Raises:
        WandbHangsError: If the library does not end in time.
        KarnError: If the log cannot be read or is removed, or Weights & Biases fails.
    """
    log = resolve_log(source.run)
    _check_writable(source.folder)

    def start(first: Event) -> Exporter:
        exporter = Exporter(source, options, first)
        say(f"wandb: {exporter.place}")
        return exporter

    exporter: Exporter | None = None
    doubted = False
    with EventReader(log) as reader:
        while True:
            # Ask both before reading, so that everything written until then is sent.
            stopped, lock = stop(), probe_lock(source.run)
            exporter = _feed(reader, exporter, start)
            state = RunState() if exporter is None else exporter.state
            liveness = liveness_of(state.status, lock, state.cursor.last_wall, time.time())
            removed = exporter is not None and not log.exists()
            over = liveness in {Liveness.ENDED, Liveness.CRASHED}
            if stopped or removed or (over and not wait_for_stop):
                break
            if liveness is Liveness.STALE and not (doubted or wait_for_stop):
                say(f"wandb: {_doubt(lock)}")
                doubted = True
            time.sleep(POLL_SECONDS)
        if exporter is None:
            raise KarnError(f"event log '{log}' holds no event; nothing was sent")
        if reader.problem_count:
            say(problems_text(log, reader.problem_count, reader.problems[0]))
    seconds = FINISH_SECONDS + GRACE_SECONDS
    lines = call_within(
        seconds,
        partial(exporter.finish, crashed=liveness is Liveness.CRASHED),
        f"wandb has not ended in {seconds:.0f} s; upload the rest: {exporter.sync_command}",
    )
    for line in lines:
        say(f"wandb: {line}")
    if removed:
        raise KarnError(
            f"event log '{log}' was removed while it was read; what was read before was sent"
        )
    return liveness


def _feed(
    reader: EventReader, exporter: Exporter | None, start: Callable[[Event], Exporter]
) -> Exporter | None:
    """Sends what is new in a log; returns the exporter, which the first event starts."""
    for event in reader.read():
        if exporter is None:
            exporter = start(event)
        exporter.feed(event)
    return exporter


def _doubt(lock: LockProbe) -> str:
    who = "the process that trains" if lock.owner is None else f"process {lock.owner.pid}"
    where = "" if lock.owner is None else f" on {lock.owner.host}"
    return (
        f"no event for {STALE_AFTER:.0f} s, and whether {who}{where} is alive is unknown "
        "here; waiting for more events until Ctrl-C"
    )


def _check_writable(folder: Path) -> None:
    """Refuses a folder that cannot be written: the library would use a temporary one instead.

    Raises:
        KarnError: If it cannot be written.
    """
    if not os.access(folder, os.W_OK | os.X_OK):
        raise KarnError(
            f"cannot write in '{folder}', where the files of wandb go; name another folder"
        )
