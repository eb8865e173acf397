"""Small fixed runs, and a digest of every number that they report and every weight they end with.

A change that only moves or renames code leaves all of them as they are, to the bit:

    uv run python tests/equivalence.py record     # before the change
    uv run python tests/equivalence.py compare    # after it

Floating-point results differ between processors and between versions of torch, so there is one
record for each kind of machine, in ``tests/digests/``. ``test_equivalence.py`` compares with it.

A digest covers values and not the names they have in a log, a summary or a state dict, and not
the order in which a record holds them. Clocks, sizes of memory and configurations are left out.
Events are digested before they are written, because a log holds six digits of each number and
leaves out what has its default.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).with_name("digests")
NOT_RESULTS = frozenset(
    {
        *(
            "seconds",
            "wall_seconds",
            "decision_seconds",
            "started",
            "ended",
            "wall_time",
            "monotonic",
        ),
        *("host_epochs_per_second", "peak_memory_mb", "schema_version", "boot", "sequence"),
        *("config", "versions"),
    }
)
Digests = dict[str, str]

EXACT_LOG = "exact_events.jsonl"
"""Every event of a run, in full and exactly: what a sink of this tool writes."""

OF_THE_MACHINE = frozenset({"vitals", "memory_warning", "throughput_warning"})
"""Kinds of event that depend on the machine and its load."""


def machine() -> str:
    """Names the kind of machine: the processor, what torch uses of it, and torch's version."""
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {name.strip(): value.strip() for name, value in named.items()}
    found = [fields[name] for name in ("model name", "cpu family", "model") if name in fields]
    processor = " ".join(found) or platform.processor() or platform.machine()
    text = f"{processor} {torch.backends.cpu.get_cpu_capability()} torch {torch.__version__}"
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def digest(values: list[str]) -> str:
    """Returns a digest of texts in any order, and how many there are."""
    joined = "\n".join(sorted(values)).encode()
    return f"{hashlib.sha256(joined).hexdigest()[:16]} of {len(values)}"


def numbers(record: Any) -> Iterator[str]:
    """Yields every number of a JSON value, exactly, but for clocks and configurations."""
    if isinstance(record, dict):
        for name, value in record.items():
            if name not in NOT_RESULTS:
                yield from numbers(value)
    elif isinstance(record, list):
        for value in record:
            yield from numbers(value)
    elif isinstance(record, (int, float)):
        yield float(record).hex()


def tensors(state: Any) -> Iterator[str]:
    """Yields a digest of every tensor in nested dicts and sequences."""
    import torch

    if isinstance(state, torch.Tensor):
        data = state.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        content = f"{state.dtype} {tuple(state.shape)} ".encode() + data
        yield hashlib.sha256(content).hexdigest()
    elif isinstance(state, dict):
        for value in state.values():
            yield from tensors(value)
    elif isinstance(state, (list, tuple)):
        for value in state:
            yield from tensors(value)


class ExactLog:
    """A sink that writes every event in full, with all digits of its numbers."""

    def __init__(self, folder: Path) -> None:
        from pydantic import TypeAdapter

        from esper_leyline.events import Event

        self._encode = TypeAdapter(Event).dump_json
        self._file = (folder / EXACT_LOG).open("wb")

    def emit(self, event: Any) -> None:
        """Writes one event."""
        self._file.write(self._encode(event) + b"\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from equivalence import ExactLog
from esper_nissa import SINKS
from esper_train.cli import main
SINKS.register("exact", ExactLog)
if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
"""


def esper_train(*arguments: str, folder: Path) -> None:
    """Runs ``esper-train`` in a folder, with ``ExactLog`` as the sink ``exact``."""
    program = folder / "esper_train_with_exact_log.py"
    program.write_text(_PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program), str(Path(__file__).parent), *arguments, "--device", "cpu"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"esper-train {' '.join(arguments)}\n{done.stdout}\n{done.stderr}")


def digests_of_run(run: Path) -> Digests:
    """Digests a run directory: its log by kind of event, its summary and its last checkpoint."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for line in (run / EXACT_LOG).read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["payload"]["kind"] in OF_THE_MACHINE:
            continue
        kinds[event["payload"]["kind"]] += numbers(event)
    found = {f"events {kind}": digest(values) for kind, values in sorted(kinds.items()) if values}
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    found["summary"] = digest(list(numbers(summary)))
    checkpoints = sorted((run / "checkpoints").glob("*.safetensors"))
    if checkpoints:
        from esper_train.checkpoints.files import load_checkpoint

        _, state = load_checkpoint(checkpoints[-1])
        found["weights"] = digest(list(tensors(state)))
    return found


def train(*arguments: str, folder: Path) -> Digests:
    """Runs a training command and digests its run directory."""
    telemetry = ("--telemetry-level", "debug", "--telemetry-sinks", "exact")
    esper_train(*arguments, *telemetry, folder=folder)
    (run,) = (folder / "runs").iterdir()
    return digests_of_run(run)


PPO = (
    *("ppo", "--preset", "mnist1d_blind", "--envs", "4", "--episode-length", "20"),
    # No checkpoint depends on how fast the machine is.
    *("--seed", "7", "--checkpoint-minutes", "10000"),
)


def ppo_in_two_workers(folder: Path) -> Digests:
    """PPO with its hosts in two processes."""
    return train(*PPO, "--rounds", "3", "--workers", "2", folder=folder)


def ppo_in_process(folder: Path) -> Digests:
    """The same with its hosts in the trainer's process."""
    return train(*PPO, "--rounds", "3", "--workers", "1", folder=folder)


def heuristic_on_signals(folder: Path) -> Digests:
    """The rules on convolutional hosts."""
    return train("heuristic", "--task", "mnist1d", "--max-epochs", "40", folder=folder)


def heuristic_on_text(folder: Path) -> Digests:
    """The rules on a small GPT."""
    sizes = ("--max-epochs", "12", "--max-batches", "4")
    return train("heuristic", "--task", "topics", *sizes, folder=folder)


def evaluation(folder: Path) -> Digests:
    """The fixed schedule and a policy of two rounds on the same hosts."""
    esper_train(
        *PPO, "--workers", "1", "--rounds", "2", "--save", "policy.safetensors", folder=folder
    )
    esper_train(
        *("evaluate", "--arms", "schedule", "policy.safetensors", "--seeds", "3", "--workers", "1"),
        *("--out", "compared"),
        folder=folder,
    )
    found = json.loads((folder / "compared" / "evaluation.json").read_text(encoding="utf-8"))
    return {"results": digest(list(numbers(found)))}


def grown_resnet(folder: Path) -> Digests:
    """A ResNet that is grafted, grown by one seed and harvested."""
    del folder
    import torch
    from torch.nn.functional import cross_entropy
    from torchvision.models import resnet18

    from esper_kasmina import Schedule, graft, grow, harvest, parameter_groups
    from esper_leyline import Blueprint

    torch.set_num_threads(1)
    torch.manual_seed(0)
    labels = torch.arange(32) % 2
    images = torch.randn(32, 3, 32, 32)
    images[labels == 1] += torch.linspace(-0.2, 0.2, 32)
    model = graft(
        resnet18(num_classes=2), {"r0c0": "layer1", "r0c1": "layer3"}, example_inputs=images
    )
    optimizer = torch.optim.SGD(parameter_groups(model), lr=0.01, momentum=0.9)
    scores: list[str] = []

    def train_epoch(model: torch.nn.Module) -> None:
        model.train()
        optimizer.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        scores.append(loss.item().hex())

    @torch.no_grad()
    def evaluate(model: torch.nn.Module) -> float:
        score = -cross_entropy(model.eval()(images), labels).item()
        scores.append(score.hex())
        return score

    keep = Schedule(min_contribution=-100.0)
    growth = grow(
        model, "r0c0", Blueprint.DEPTHWISE, optimizer, train_epoch, evaluate, schedule=keep
    )
    plain = harvest(model)
    return {
        "scores": digest(scores),
        "growth": digest(list(numbers([growth.contribution, growth.score, growth.parameters]))),
        "weights": digest(list(tensors(plain.state_dict()))),
    }


CASES: dict[str, Callable[[Path], Digests]] = {
    case.__name__: case
    for case in (
        ppo_in_two_workers,
        ppo_in_process,
        heuristic_on_signals,
        heuristic_on_text,
        evaluation,
        grown_resnet,
    )
}


def run_case(name: str) -> Digests:
    """Runs a case in a folder of its own, which is removed after it."""
    with tempfile.TemporaryDirectory(prefix="equivalence-") as folder:
        return CASES[name](Path(folder))


def recorded() -> dict[str, Digests] | None:
    """Returns the record of this kind of machine, or None where there is none."""
    path = RECORDS / f"{machine()}.json"
    if not path.exists():
        return None
    found: dict[str, Digests] = json.loads(path.read_text(encoding="utf-8"))
    return found


def differences(before: Digests, after: Digests) -> list[str]:
    """Returns a line for each digest that is not as it was."""
    return [
        f"{name}: {before.get(name, 'absent')} before, {after.get(name, 'absent')} now"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def main() -> int:
    """Records or compares; returns 1 if a number has changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["record", "compare"])
    parser.add_argument("cases", nargs="*", help=f"of: {', '.join(CASES)}; all if none is named")
    options = parser.parse_args()
    unknown = set(options.cases) - set(CASES)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are: {', '.join(CASES)}")
    before = recorded()
    if options.action == "compare" and before is None:
        parser.error(f"no record for {machine()}; run: python tests/equivalence.py record")
    after = dict(before or {})
    changed = 0
    for name in options.cases or CASES:
        after[name] = run_case(name)
        lines = differences((before or {}).get(name, {}), after[name])
        changed += len(lines)
        print(f"{name}: {'changed' if lines else 'the same'}", *lines, sep="\n  ", flush=True)
    if options.action == "compare":
        return 1 if changed else 0
    RECORDS.mkdir(exist_ok=True)
    text = json.dumps(after, indent=2, sort_keys=True)
    (RECORDS / f"{machine()}.json").write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
