"""Draws a run."""

from __future__ import annotations

from pathlib import Path

from esper_karn import EventReader, echo, fold, growth_svg, growth_view, resolve_log
from esper_leyline import LeylineError, write_atomically
from esper_leyline.files.paths import check_file, os_reason
from esper_overwatch.errors import OverwatchError


def write_picture(run: Path, out: Path) -> None:
    """Writes the picture of the run's best episode.

    Args:
        run: The run directory.
        out: The SVG file to write.

    Raises:
        EsperError: If the run cannot be read, its log has no epoch, or the file cannot be
            written.
    """
    _check_out(out)
    with EventReader(resolve_log(run)) as reader:
        text = growth_svg(growth_view(fold(reader.read())))
    try:
        write_atomically(out, text.encode())
    except OSError as error:
        raise OverwatchError(
            f"cannot write '{out}': {os_reason(error)}; name a file in a folder that can be written"
        ) from error
    echo(f"picture: {out}")


def _check_out(out: Path) -> None:
    """Refuses folders, pipes and devices before the log is read."""
    try:
        check_file(out)
    except OSError as error:
        raise OverwatchError(f"--out '{out}' cannot be used: {os_reason(error)}") from None
    except LeylineError as error:
        raise OverwatchError(f"--out '{out}' {error}") from None
