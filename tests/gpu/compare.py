"""Compares hosts on two devices, and times a short run of the default preset on each.

    python tests/gpu/compare.py cpu cuda:0

Hosts get the same weights, batches and actions on both devices, so that only rounding differs.
Rounding grows from epoch to epoch, so validation losses are compared over the first epochs only.
Exits with 1 if a difference exceeds its limit.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import torch

from esper_kasmina import build_host
from esper_leyline import FactoredAction, Op, override
from esper_tolaria import build_environment, find_preset, find_task

TASKS = ("mnist1d_blind", "digits", "topics")
LIMIT = 0.02
"""Largest relative difference between validation losses."""

HOSTS = 2


@dataclass(frozen=True)
class Measured:
    """Validation losses [epochs, hosts] and the seconds of all epochs but the first."""

    losses: list[list[float]]
    seconds: float


def measure(name: str, device: str) -> Measured:
    """Trains hosts for three epochs; a seed is added in the first."""
    task = find_task(name).spec
    config = override(find_preset(name), {"n_envs": HOSTS, "max_epochs": 10})
    environment = build_environment(task, config, build_host, device, workers=1)
    environment.reset([1, 2])
    germinate = FactoredAction(op=Op.GERMINATE, slot=0, blueprint=task.blueprints[0])
    losses, seconds = [], 0.0
    for action in (germinate, FactoredAction(), FactoredAction()):
        started = time.perf_counter()
        reports = environment.step([action] * HOSTS)
        seconds += (time.perf_counter() - started) if losses else 0.0
        losses.append([report.val_loss for report in reports])
    environment.close()
    return Measured(losses, seconds)


def default_run(device: str) -> tuple[float, str]:
    """Runs two short rounds of PPO; returns the seconds and how the run ended."""
    arguments = f"ppo --preset mnist1d_blind --rounds 2 --episode-length 6 --device {device}"
    command = [sys.executable, "-c", "from esper_train.cli import main; raise SystemExit(main())"]
    with tempfile.TemporaryDirectory() as runs:
        started = time.perf_counter()
        done = subprocess.run(
            [*command, *arguments.split(), "--no-tui", "--runs", runs],
            capture_output=True,
            text=True,
            check=False,
        )
    end = "completed" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
    return time.perf_counter() - started, end


def main(first: str, second: str) -> int:
    """Prints the tables and returns the exit code."""
    for device in {first, second}:
        if torch.device(device).type == "cuda":
            print(f"{device}: {torch.cuda.get_device_name(device)}")
    print(f"torch {torch.__version__}")
    failed = False
    print(f"{'task':<15} {'epoch':>5} {first:>10} {second:>10} {'difference':>10}")
    for name in TASKS:
        here, there = measure(name, first), measure(name, second)
        for epoch, (mine, other) in enumerate(zip(here.losses, there.losses, strict=True), start=1):
            for a, b in zip(mine, other, strict=True):
                difference = abs(a - b) / a
                failed |= not difference <= LIMIT
                mark = "" if difference <= LIMIT else f"  above {LIMIT:.0%}"
                print(f"{name:<15} {epoch:>5} {a:>10.4f} {b:>10.4f} {difference:>10.2%}{mark}")
        print(f"{name:<15} {'s':>5} {here.seconds:>10.2f} {there.seconds:>10.2f}")
    for device in (first, second):
        seconds, end = default_run(device)
        failed |= end != "completed"
        print(f"ppo, 2 rounds of 4 hosts and 6 epochs on {device}: {seconds:.1f} s, {end}")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
