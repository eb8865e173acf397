"""The README's example prints what it says, and its table of keys is complete."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from esper_leyline.config.overrides import FLAT_KEYS

README = Path(__file__).parents[1] / "README.md"


def test_the_example_prints_the_output_below_it():
    text = README.read_text(encoding="utf-8")
    code, printed = re.findall(r"^```(?:python|text)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == printed


def test_every_flat_spelling_of_a_key_is_listed():
    text = README.read_text(encoding="utf-8")
    for flat, (part, key) in FLAT_KEYS.items():
        assert f"| `{flat}` | `{part}.{key}` |" in text
