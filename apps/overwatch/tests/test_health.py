"""``show`` says what is not well with a run."""

from __future__ import annotations

from esper_leyline.events import Event, RoundCompleted, Vitals, encode_event
from esper_leyline.profiles import HostProfile, LayerProfile
from esper_overwatch.cli import main


def test_a_check_that_is_not_well_is_printed_with_advice(tmp_path, capsys, a_round):
    run = tmp_path / "run"
    run.mkdir()
    disk = {"disk_free_mb": float("nan"), "total_disk_mb": 1000.0}
    sample = Vitals(memory_mb=98.0, total_memory_mb=100.0, **disk)
    # One reading alone may be a moment.
    payloads = (RoundCompleted(summary=a_round(1, rollbacks=2)), sample, sample)
    events = [
        Event(run_id="run", sequence=number, monotonic=number, wall_time=number, payload=payload)
        for number, payload in enumerate(payloads)
    ]
    lines = [encode_event(event).decode() + "\n" for event in events]
    (run / "events.jsonl").write_text("".join(lines))
    assert main(["show", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = [line for line in lines if line.startswith("bad: ")]
    assert len(found) == 3
    assert any(
        "ended: 1.000 (bad from 0.500). Lower --host-learning-rate" in line for line in found
    )
    assert any("NaN (bad below 200.000). Free space" in line for line in found)


def test_the_last_profile_of_each_host_is_printed(tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    payload = HostProfile(
        profile="standard",
        layers=(LayerProfile(name="classifier", gradient_norm=0.25, weight_norm=3.0),),
        seconds=0.002,
    )
    event = Event(
        run_id="run", sequence=0, monotonic=0, wall_time=0, environment=3, epoch=10, payload=payload
    )
    (run / "events.jsonl").write_text(encode_event(event).decode() + "\n")
    assert main(["show", str(run)]) == 0
    text = capsys.readouterr().out
    assert "0.25 classifier" in text
    assert "last profile of each host (standard)" in text
