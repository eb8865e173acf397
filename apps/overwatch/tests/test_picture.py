"""The picture on the front page, and the picture of a real run."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from esper_karn import EventReader, fold

ROOT = Path(__file__).parents[3]
PROGRAMS = Path(sys.executable).parent


def drawn(text):
    """Kind, slot and epoch of each seed event in a picture."""
    events = [each for each in ET.fromstring(text).iter() if each.get("data-event") is not None]
    return {
        (each.get("data-event"), each.get("data-slot"), each.get("data-epoch")) for each in events
    }


def test_the_picture_of_the_front_page_shows_every_kind_of_seed_event():
    kinds = {kind for kind, _, _ in drawn((ROOT / "docs/img/growing.svg").read_text("utf-8"))}
    assert kinds == {"seed_germinated", "seed_stage_changed", "seed_fossilized", "seed_pruned"}


@pytest.mark.slow
def test_every_seed_event_of_a_real_run_is_drawn(tmp_path):
    train = "heuristic --task mnist1d_blind --device cpu --episodes 1 --seed 2 --max-epochs 40"
    command = [PROGRAMS / "esper-train", *train.split(), "--no-tui", "--runs", tmp_path / "runs"]
    subprocess.run(command, check=True, capture_output=True)
    (run,) = (tmp_path / "runs").iterdir()
    out = tmp_path / "growing.svg"
    command = [PROGRAMS / "esper-overwatch", "picture", run, "--out", out]
    subprocess.run(command, check=True, capture_output=True)
    with EventReader(run / "events.jsonl") as reader:
        events = list(reader.read())
    logged = {
        (event.kind, event.payload.slot, str(event.epoch))
        for event in events
        if event.kind in {"seed_germinated", "seed_fossilized", "seed_pruned"}
    }
    assert logged
    assert fold(events).environments[0].best_episode is not None
    found = {each for each in drawn(out.read_text("utf-8")) if each[0] != "seed_stage_changed"}
    assert found == logged
