"""Draws runs of one task as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from esper_karn import echo
from esper_leyline import write_atomically
from esper_leyline.extras import require_extra
from esper_leyline.files.paths import check_file_of, name_flag
from esper_overwatch.commands.databases import open_named_runs


def write_plot(runs: Sequence[Path], to: Path) -> None:
    """Writes a picture of curves, actions, Q values and seeds.

    Args:
        runs: Run directories.
        to: The PNG file; one that is there is replaced.

    Raises:
        EsperError: If a run cannot be read, they trained different tasks, or the file cannot
            be written.
    """
    command = "esper-overwatch plot"
    require_extra(
        f"'{command}'", ["duckdb", "matplotlib"], extra="plot", distribution="esper-overwatch"
    )
    check_file_of("--to", to)
    with open_named_runs(runs, command) as database:
        from esper_karn.analytics.plots.figure import plot_runs

        picture = plot_runs(database)
    with name_flag("--to", to):
        write_atomically(to, picture)
    echo(f"picture: {to}")
