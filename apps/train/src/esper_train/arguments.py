"""The command lines of the processes that a run starts."""

from __future__ import annotations

import argparse
from typing import NoReturn

from esper_karn import echo_error

USAGE_ERROR = 2


class ArgumentParser(argparse.ArgumentParser):
    """A parser whose errors are one line without escape sequences."""

    def error(self, message: str) -> NoReturn:
        """Prints the message and ends the process with exit code 2."""
        echo_error(f"{self.prog}: {message}")
        raise SystemExit(USAGE_ERROR)
