"""The command line. Rich and Karn load with the commands, so ``--help`` answers at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

if TYPE_CHECKING:
    from esper_karn import SafeConsole

FAILED = 1
USAGE_ERROR = 2


def _read_whole(kind: Any, tokens: Sequence[Any]) -> int:
    """Reads a whole number; Leyline loads with the value, so ``--help`` answers at once."""
    from esper_leyline.numbers import read_whole

    return read_whole(kind, tokens)


app = App(
    name="esper-overwatch",
    help="Look at runs of esper-train: all in a folder, or one of them.",
    result_action="return_value",
)


@app.command(name="list")
def list_command(runs_folder: Path = Path("runs"), /) -> None:
    """List the runs in a folder, the latest first.

    Parameters
    ----------
    runs_folder
        The folder that esper-train's --runs named.
    """
    from esper_overwatch.commands.runs import list_runs

    list_runs(runs_folder, _console(), now=time.time())


@app.command
def show(run: Path, /) -> None:
    """Show a run's rounds and how it ended; of a running one, the rounds so far.

    Parameters
    ----------
    run
        The run's directory.
    """
    from esper_overwatch.commands.runs import show_run

    show_run(run, _console(), now=time.time())


@app.command
def picture(run: Path, /, *, out: Path = Path("growing.svg")) -> None:
    """Draw how a host of the run grew: its seeds and its accuracy over epochs, as an SVG.

    Parameters
    ----------
    run
        The run's directory. Of its episodes, the one with the highest final accuracy is drawn.
    out
        The file to write.
    """
    from esper_overwatch.commands.picture import write_picture

    write_picture(run, out)


app.command(
    "esper_overwatch.commands.weights_and_biases:send_run",
    name="wandb",
    help="Send a run to Weights & Biases, or the rest of one that was sent before.",
)


@app.command
def sql(
    query: str | None = None,
    /,
    *,
    runs: Path = Path("runs"),
    format: Literal["table", "csv", "json"] = "table",  # noqa: A002
    schema: bool = False,
) -> None:
    """Query the events of all runs in a folder with SQL (DuckDB). It only reads.

    Parameters
    ----------
    query
        One SELECT, for example "SELECT run, max(val_accuracy) FROM epochs GROUP BY run".
    runs
        The folder of runs, or one run.
    format
        A table with the columns that fit, CSV or JSON.
    schema
        List the views and their columns instead.
    """
    from esper_overwatch.commands.sql import print_schema, run_query
    from esper_overwatch.errors import OverwatchError

    if schema:
        print_schema([runs], _console())
    elif query is None:
        raise OverwatchError('name a query, for example "SELECT * FROM runs", or --schema')
    else:
        run_query(query, [runs], format, _console())


@app.command
def compare(*runs: Path, json: bool = False) -> None:
    """Compare runs of one task: configuration, curves, sizes, and the hosts that both trained.

    Parameters
    ----------
    runs
        Directories of two runs or more; the first one is the baseline.
    json
        Print one JSON object instead of tables.
    """
    from esper_overwatch.commands.compare import print_comparison

    print_comparison(runs, _console(), as_json=json)


@app.command
def export(
    *runs: Path,
    to: Path = Path("tables"),
    format: Literal["parquet", "csv"] = "parquet",  # noqa: A002
    tables: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = (),
) -> None:
    """Write the tables of runs as files, one each, for pandas, Polars, R or a spreadsheet.

    Parameters
    ----------
    runs
        Directories of runs.
    to
        The folder for the files; it is created. Files of the same names are replaced.
    format
        Parquet keeps all types; CSV is that of the command sql.
    tables
        Some of the views that "sql --schema" lists. Default: all.
    """
    from esper_overwatch.commands.export import export_runs

    export_runs(runs, to, format, tables, _console())


@app.command
def scoreboard(*runs: Path, json: bool = False) -> None:
    """Show what became of the seeds of each blueprint, by task.

    Parameters
    ----------
    runs
        Folders of runs, or directories of runs. Default: the folder runs.
    json
        Print a JSON array instead of a table.
    """
    from esper_overwatch.commands.scoreboard import print_scoreboard

    print_scoreboard(runs or [Path("runs")], _console(), as_json=json)


@app.command
def plot(*runs: Path, to: Path = Path("runs.png")) -> None:
    """Draw runs of one task: curves, actions, Q values, contributions and lives of seeds, as a PNG.

    Parameters
    ----------
    runs
        Directories of runs, at most eight.
    to
        The file to write.
    """
    from esper_overwatch.commands.plot import write_plot

    write_plot(runs, to)


@app.command
def web(
    folder: Path = Path("runs"),
    /,
    *,
    port: Annotated[int, Parameter(converter=_read_whole)] = 8080,
    everywhere: bool = False,
    allow_host: list[str] | None = None,
    run: str | None = None,
) -> None:
    """Serve the page with all runs of a folder, and print its link.

    Parameters
    ----------
    folder
        The folder that esper-train's --runs named, or one run.
    port
        The port; 0 takes a free one.
    everywhere
        Listen on all interfaces, so that others on the network can open the link.
    allow_host
        A further name by which browsers may call the server, for example that of a proxy.
    run
        The run that the link opens, instead of the list.
    """
    from esper_overwatch.commands.web import serve_runs

    serve_runs(folder, port=port, everywhere=everywhere, allow_hosts=allow_host or (), run=run)


@app.command
def tui(run: Path | None = None, /) -> None:
    """Show a run in Sanctum, on the whole terminal: live, finished or crashed.

    Parameters
    ----------
    run
        The run's directory, its log, or a folder of runs, of which the latest is shown. Default:
        the latest in the folder runs; without one, Sanctum waits for it.
    """
    from esper_overwatch.commands.sanctum import show_in_sanctum

    show_in_sanctum(run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code.

    Args:
        arguments: The command line; ``None`` takes the process's own.

    Returns:
        0; 1 if the output could not be written; 2 for a command that failed. One line on
        standard error gives the reason.
    """
    from esper_leyline import EsperError

    if arguments is None:
        from esper_karn import guard_streams

        guard_streams()
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _fail(" ".join(str(error).split()))
    except EsperError as error:
        return _fail(str(error))
    return _check_output() if arguments is None else 0


def _console() -> SafeConsole:
    from esper_karn import SafeConsole

    return SafeConsole()


def _fail(message: str) -> int:
    from esper_karn import echo_error

    echo_error(message)
    return USAGE_ERROR


def _check_output() -> int:
    """Returns the exit code of a command that has printed its output."""
    from esper_karn import echo_error, output_failure

    reason = output_failure()
    if reason is None:
        return 0
    echo_error(f"cannot write to standard output: {reason}")
    return FAILED
