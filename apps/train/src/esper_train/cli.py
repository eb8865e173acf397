"""The command line. Nothing here imports torch, so ``--help`` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from esper_karn import echo_error, guard_streams, output_failure
from esper_leyline import EsperError
from esper_train.early_start import start_early
from esper_train.interrupts import ignore_signals
from esper_train.settings.flags import SettingFlags, with_flags
from esper_train.settings.options import (
    EVALUATION_FLAGS,
    HEURISTIC_FLAGS,
    MACHINE_FLAGS,
    SPREAD_FLAGS,
    ConfigOptions,
    DualOptions,
    EvaluateOptions,
    PPOOptions,
    SetOptions,
    TasksOptions,
    TelemetryOptions,
)

FAILED = 1
USAGE_ERROR = 2
STOPPED = 128
INTERRUPTED = STOPPED + 2
_COMMANDS = ("ppo", "heuristic", "evaluate", "tasks", "config")
_PRINTING = ("tasks", "config")
"""Commands that only print."""

app = App(
    name="esper-train",
    help="Train networks that grow, and the policies that decide how.",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)

_HEURISTIC: SettingFlags = HEURISTIC_FLAGS()
_HOSTS: SettingFlags = EVALUATION_FLAGS()
_SPREAD: SettingFlags = SPREAD_FLAGS()
_MACHINE: SettingFlags = MACHINE_FLAGS()
_PPO = PPOOptions()
_SET = SetOptions()
_TELEMETRY = TelemetryOptions()
_CONFIG = ConfigOptions()
_EVALUATE = EvaluateOptions()
_TASKS = TasksOptions()


@app.command
def ppo(*, options: PPOOptions = _PPO) -> int:
    """Train Tamiyo, a recurrent policy, with PPO to grow networks while they train."""
    start_early(options.flags)
    if options.dual != DualOptions():
        from esper_train.commands.dual import run_dual

        return run_dual(options)
    from esper_train.commands.ppo import run_ppo

    return run_ppo(options)


@app.command
@with_flags(flags=HEURISTIC_FLAGS)
def heuristic(
    *,
    flags: SettingFlags = _HEURISTIC,
    options: SetOptions = _SET,
    telemetry: TelemetryOptions = _TELEMETRY,
) -> int:
    """Grow networks by rules: the baseline that a policy has to beat."""
    start_early(flags)
    from esper_train.commands.heuristic import run_heuristic

    return run_heuristic(flags=flags, options=options, telemetry=telemetry)


@app.command
@with_flags(hosts=EVALUATION_FLAGS, hardware=SPREAD_FLAGS)
def evaluate(
    *,
    options: EvaluateOptions = _EVALUATE,
    hosts: SettingFlags = _HOSTS,
    hardware: SettingFlags = _SPREAD,
) -> int:
    """Compare controllers and policies on the same unseen hosts: accuracy, and what it cost."""
    start_early(hardware)
    from esper_train.commands.evaluate import run_evaluate

    return run_evaluate(options=options, hosts=hosts, hardware=hardware)


@app.command
@with_flags(machine=MACHINE_FLAGS)
def tasks(*, options: TasksOptions = _TASKS, machine: SettingFlags = _MACHINE) -> int:
    """List the tasks, and whether their data is here."""
    from esper_train.commands.tasks import run_tasks

    return run_tasks(options=options, machine=machine)


@app.command
def config(*, options: ConfigOptions = _CONFIG, run: PPOOptions = _PPO) -> int:
    """Print the configuration of a PPO run, and where each value comes from; takes ppo's flags."""
    from esper_train.commands.config import run_config

    return run_config(options, run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code.

    Args:
        arguments: The command line; ``None`` takes the process's own.

    Returns:
        0 when the run completed, 1 when it failed, 2 for a mistake in what was asked, and
        128 + n when signal n stopped it.
    """
    if arguments is None:
        guard_streams()
    tokens = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        named = tokens[:1] if tokens[:1] and tokens[0] in _COMMANDS else []
        command = " ".join(["esper-train", *named])
        return _fail(f"{' '.join(str(error).split())} See: {command} --help")
    except EsperError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    if arguments is None and isinstance(code, int) and code >= STOPPED:
        # Another signal, while the interpreter exits, must not change the exit code.
        ignore_signals()
    # A run has its directory; of other commands, and of --help, the output is all there is.
    if (not isinstance(code, int) or tokens[0] in _PRINTING) and (reason := output_failure()):
        echo_error(f"cannot write to standard output: {reason}")
        return FAILED
    return code if isinstance(code, int) else 0


def _fail(message: str) -> int:
    echo_error(message)
    return USAGE_ERROR
