"""One run of a comparison, in a process of its own: ``python -m esper_train.dual.arm``.

Its standard input is its lifeline: once that ends, because the parent closed it or is gone,
the run ends in order, as after Ctrl-C.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from esper_karn import guard_streams
from esper_train.arguments import ArgumentParser
from esper_train.interrupts import StopRequest


def main(arguments: list[str] | None = None) -> int:
    """Trains the run whose directory, with its config, is there already."""
    parser = ArgumentParser(prog="esper_train.dual.arm")
    parser.add_argument("run", type=Path)
    parser.add_argument("--group", required=True)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args(arguments)
    guard_streams()
    with StopRequest() as stop:
        threading.Thread(target=_hold_on, args=(stop,), daemon=True).start()
        return _train(options.run, options.group, plain=options.plain, stop=stop)


def _hold_on(stop: StopRequest) -> None:
    # Not sys.stdin: at exit the interpreter would wait for a thread that reads it.
    while os.read(0, 1):
        pass
    stop.ask()


def _train(path: Path, group: str, *, plain: bool, stop: StopRequest) -> int:
    # Imported here, so that a stop is heard while torch loads.
    from esper_leyline import read_config
    from esper_nissa import RunDirectory
    from esper_simic import build_reward
    from esper_train.commands.ppo import PPORun
    from esper_train.session import RunSession
    from esper_train.settings.options import TelemetryOptions
    from esper_train.settings.resolve import plan_resolved

    directory = RunDirectory.open(path)
    plan = plan_resolved(read_config(directory.config))
    reward = build_reward(plan.config.reward, gamma=plan.config.ppo.gamma)
    telemetry = TelemetryOptions(no_tui=plain)
    with RunSession("ppo", plan, telemetry, stop, directory=directory, group=group) as session:
        with stop.breakable():
            run = PPORun(plan, reward, session, None)
        run.train(stop, None)
    return session.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
