"""The process that serves the page of a run. Its trainer sends it the address and the folder."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from esper_karn import guard_streams
from esper_karn.web.access import Access
from esper_karn.web.serve import Binding, serve
from esper_train.interrupts import ignore_signals


def main() -> int:
    """Serves until the trainer closes this process's standard input, or is gone."""
    guard_streams()
    ignore_signals()
    words = json.loads(sys.stdin.readline())
    binding = Binding(
        listener=socket.socket(fileno=words["descriptor"]),
        access=Access(token=words["token"], port=words["port"], hosts=frozenset(words["hosts"])),
        addresses=tuple(words["addresses"]),
    )
    serve(binding, Path(words["root"]), until=lambda: os.read(0, 1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
