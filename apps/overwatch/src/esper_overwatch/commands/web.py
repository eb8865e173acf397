"""Serves the page with all runs of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from esper_karn import echo, echo_all
from esper_leyline.extras import require_extra
from esper_leyline.files.caches import user_cache
from esper_leyline.files.paths import check_folder_of
from esper_leyline.numbers import check_port


def serve_runs(
    folder: Path, *, port: int, everywhere: bool, allow_hosts: Sequence[str], run: str | None
) -> None:
    """Serves until Ctrl-C.

    Args:
        folder: A folder of runs, or one run; it may appear later.
        port: The port; 0 takes a free one.
        everywhere: Whether to listen on all interfaces.
        allow_hosts: Further names by which browsers may call it.
        run: The run that the link opens, ``None`` for the list.

    Raises:
        EsperError: If the port is none, taken or not permitted, or the extra ``web`` is missing.
    """
    modules = ["starlette", "uvicorn", "websockets", "psutil"]
    check_port("--port", port)
    check_folder_of("FOLDER", folder)
    require_extra("'esper-overwatch web'", modules, extra="web", distribution="esper-overwatch")
    from esper_karn.web.serve import bind_server, serve

    binding = bind_server(port, everywhere=everywhere, allow_hosts=allow_hosts)
    first, *others = binding.links(run)
    echo(f"Overwatch: {first}")
    echo_all(f"on the network: {link}" for link in others)
    echo("Ctrl-C ends it; runs go on")
    with suppress(KeyboardInterrupt):
        serve(binding, folder, snapshots=user_cache("snapshots"))
