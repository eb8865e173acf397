"""Records the pictures of Sanctum, which its tests compare byte for byte.

``uv run --no-sync python tests/sanctum/record.py [NAME...]`` writes ``tests/sanctum/*.svg.gz``, all
of them or those of some names of ``scenarios.py``. Look at them before you commit them:
``--plain FOLDER`` also writes them as plain SVG.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from scenarios import SCENARIOS, file_of, picture, pictures


def main() -> int:
    """Records the pictures that are named, or all of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", choices=[[], *SCENARIOS])
    parser.add_argument("--plain", type=Path)
    options = parser.parse_args()
    for name, size in pictures():
        if options.names and name not in options.names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            svg = picture(Path(folder), name, size)
        target = file_of(name, size)
        # Without a time stamp, so that the same picture is the same file.
        target.write_bytes(gzip.compress(svg.encode(), 9, mtime=0))
        print(f"{target.name}: {target.stat().st_size:,} bytes", flush=True)
        if options.plain is not None:
            options.plain.mkdir(parents=True, exist_ok=True)
            (options.plain / target.name.removesuffix(".gz")).write_text(svg)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
