"""Downloads the data of a run before its directory is created."""

from __future__ import annotations

from pathlib import Path

from esper_karn import echo
from esper_leyline.files.paths import check_folder_of
from esper_tolaria import data_is_here, fetch_data
from esper_train.settings.resolve import Plan


def make_data_ready(plan: Plan) -> None:
    """Downloads missing data of a run, and prints that it does.

    Raises:
        EsperError: If that fails, or the folder for data is something else.
    """
    task, root = plan.task, Path(plan.config.data_root)
    check_folder_of("--data-root", root)
    if not data_is_here(task, root):
        echo(f"data: {task.data.source}: not in '{root}' yet, so it is downloaded")
        fetch_data(task, root)
