"""One run of a comparison, in a process of its own: ``python -m esper_train.dual.arm``.

When its standard input ends, because the parent closed it or exited, the run stops cleanly, as
after Ctrl-C.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from esper_karn import guard_streams
from esper_karn.weights_and_biases.options import WandbOptions
from esper_train.arguments import ArgumentParser
from esper_train.interrupts import StopRequest


def main(arguments: list[str] | None = None) -> int:
    """Trains the run of an existing directory, by the config in it."""
    parser = ArgumentParser(prog="esper_train.dual.arm")
    parser.add_argument("run", type=Path)
    parser.add_argument("--group", required=True)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--wandb", type=WandbOptions.model_validate_json)
    options = parser.parse_args(arguments)
    guard_streams()
    with StopRequest() as stop:
        threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
        return _train(options.run, options.group, options.wandb, plain=options.plain, stop=stop)


def _stop_at_end_of_input(stop: StopRequest) -> None:
    # Not sys.stdin: at exit the interpreter would wait for a thread that reads it.
    while os.read(0, 1):
        pass
    stop.request()


def _train(
    path: Path, group: str, wandb: WandbOptions | None, *, plain: bool, stop: StopRequest
) -> int:
    # Imported here, so that a stop request is noticed while torch loads.
    from esper_leyline import read_config
    from esper_nissa import RunDirectory
    from esper_train.ppo_run import train_ppo
    from esper_train.settings.options import TelemetryOptions
    from esper_train.settings.resolve import plan_resolved

    directory = RunDirectory.open(path)
    plan = plan_resolved(read_config(directory.config))
    telemetry = TelemetryOptions(
        no_tui=plain, wandb=wandb is not None, wandb_options=wandb or WandbOptions()
    )
    return train_ppo(plan, telemetry, stop, directory=directory, group=group)


if __name__ == "__main__":
    raise SystemExit(main())
