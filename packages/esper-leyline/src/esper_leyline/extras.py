"""Optional libraries: whether they are installed, and the line that says how to install them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from esper_leyline.errors import LeylineError


def is_installed(library: str) -> bool:
    """Whether a library can be imported, and not just a folder of its name, such as its files."""
    spec = importlib.util.find_spec(library)
    return spec is not None and spec.origin is not None


def require_extra(what: str, libraries: Sequence[str], *, extra: str, distribution: str) -> None:
    """Checks that the libraries of an extra are installed.

    Args:
        what: The command or flag that needs them.
        libraries: Names to import.
        extra: The extra that brings them.
        distribution: The distribution that declares the extra.

    Raises:
        LeylineError: If one is missing; it names the commands that install it.
    """
    missing = [each for each in libraries if not is_installed(each)]
    if missing:
        raise LeylineError(extra_text(what, missing, extra=extra, distribution=distribution))


def extra_text(what: str, libraries: Sequence[str], *, extra: str, distribution: str) -> str:
    """Returns the line for libraries of an extra that are not installed."""
    verb = "is" if len(libraries) == 1 else "are"
    return (
        f"{what} needs {' and '.join(libraries)}, which {verb} not installed; "
        f"run: pip install '{distribution}[{extra}]', or in a clone of Esper: "
        f"uv sync --extra {extra}"
    )
