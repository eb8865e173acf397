"""Every kind of event is written by something real, changes a reader's state, and is shown."""

from __future__ import annotations

import gzip
import os
import signal
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from esper_karn import EventReader, RunState, reduce
from esper_karn.views.frame import VIEWS, frame
from esper_kasmina import build_host
from esper_leyline import (
    HEADS,
    FactoredAction,
    PolicyConfig,
    RewardConfig,
    RoundSummary,
    SeedReport,
    SeedStage,
    StepReport,
    TrainingConfig,
    override,
)
from esper_leyline.events import (
    PAYLOADS,
    EpochCompleted,
    Event,
    PPOUpdate,
    RoundCompleted,
    Throughput,
    Vitals,
)
from esper_leyline.reports import HostReport
from esper_nissa import Hub, Monitor
from esper_simic import (
    ActorStep,
    RoundRecorder,
    build_reward,
    detect_anomalies,
    run_controllers,
    thresholds_for,
)
from esper_simic._torch import Adam
from esper_tamiyo import HeuristicConfig, HeuristicController
from esper_tolaria import build_environment, find_task
from esper_train import main

GOLDEN = Path(__file__).parent / "golden"

SMALL = (
    *("--task", "mnist1d_blind", "--max-batches", "3", "--set", "n_envs=2"),
    *("--device", "cpu", "--telemetry-level", "debug", "--no-tui"),
    *("--telemetry-profile", "research"),
)
DIVERGING = {"learning_rate": 1.0, "max_grad_norm": 1e6, "momentum": 0.99, "max_batches": 6}
"""Training after whose first epoch the loss of a host is far above the limit of divergence."""

POLICY = ("--memory-size", "16", "--workers", "1")


class Memory:
    """A sink that keeps events."""

    def __init__(self):
        self.events = []

    def emit(self, event):
        self.events.append(event)

    def close(self):
        pass


def overflow(optimizer):
    with torch.no_grad():
        for parameter in optimizer._parameters:
            parameter.mul_(1e30)


def train(folder):
    """A PPO run, then its continuation whose updates fail."""
    flags = ("--rounds", "1", "--episode-length", "24", "--runs", str(folder))
    assert main(["ppo", *flags, *SMALL, *POLICY]) == 0
    (checkpoint,) = folder.glob("*/checkpoints/*")
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(Adam, "step", overflow)
        resumed = ("--resume", str(checkpoint), "--rounds", "4", "--runs", str(folder))
        assert main(["ppo", *resumed]) == 1


def update(**facts):
    numbers = dict.fromkeys(PPOUpdate.model_fields, None)
    known = {
        "head_entropy": dict.fromkeys(HEADS, 0.0),
        "head_gradient_norm": {},
        "head_kl": {},
        "q_values": (),
        "learning_rate": 3e-4,
        "entropy_coefficient": 0.05,
        "passes": 4,
        "seconds": {},
        "gradient_norm": 1e4,
        "ratio_min": 0.01,
        "ratio_max": 9.0,
        "explained_variance": -1.0,
    }
    return PPOUpdate(**(numbers | known | facts | {"kind": "ppo_update"}))


def provoke(hub):
    """Gives the rules what each of them finds."""
    monitor = Monitor(hub)
    for epoch, accuracy in enumerate([60.0] * 9 + [40.0] * 4 + [80.0] * 4, start=1):
        host = HostReport(seeds=(), host_parameters=1, val_loss=1.0, val_accuracy=accuracy)
        monitor.emit(EpochCompleted(host=host), round=1, epoch=epoch, environment=0)
    for number in range(1, 15):
        slow = number > 8
        summary = RoundSummary(
            round=number,
            episodes=1,
            mean_return=0.0,
            mean_accuracy=40.0 if slow else 80.0,
            best_accuracy=80.0,
            ops={},
            germinated=0,
            fossilized=0,
            pruned=0,
            grown_parameters=0.0,
            seconds=1.0,
        )
        monitor.emit(RoundCompleted(summary=summary), round=number)
        speed = 1.0 if slow else 10.0
        monitor.emit(Throughput(host_epochs_per_second=speed, seconds={}), round=number)
        monitor.emit(Vitals(memory_mb=99.0, total_memory_mb=100.0))
    for found in detect_anomalies(
        update(), thresholds_for(PolicyConfig().floors, 3), round_number=20
    ):
        hub.emit(found, round=20)
    flagged(hub)


def flagged(hub):
    """Records a step whose seed seems to add more than the host gained."""
    reports = [
        StepReport(
            environment=0,
            rng_seed=1,
            epoch=3,
            max_epochs=20,
            host_parameters=9,
            val_accuracy=accuracy,
            action_succeeded=True,
            seeds=(
                SeedReport(
                    slot="r0c0", stage=SeedStage.BLENDING, blueprint="norm", contribution=added
                ),
            ),
        )
        for accuracy, added in ((60.0, 5.0), (50.0, 25.0))
    ]
    before, after = reports
    action = FactoredAction()
    reward = build_reward(RewardConfig(), gamma=0.99)(before, action, after)
    recorder = RoundRecorder(hub, round_number=20, environments=1)
    recorder.step(0, before, ActorStep(action=action, forced=False), after, reward)


class Killer:
    """A controller that waits, and kills the first worker before the first epoch."""

    def __init__(self, environment):
        self.environment = environment

    def reset(self, rng_seed):
        del rng_seed
        self.pid = self.environment.worker_pids[0]

    def decide(self, report):
        if report.epoch == 0:
            os.kill(self.pid, signal.SIGKILL)
        return FactoredAction()


def lose_a_worker_and_a_host(hub):
    """A round whose first worker is killed, and whose hosts' losses diverge."""
    task = find_task("mnist1d_blind").spec
    training = task.training.model_copy(update=DIVERGING)
    changes = {
        "device": "cpu",
        "n_envs": 2,
        "n_episodes": 1,
        "max_epochs": 3,
        "host": training.model_dump(),
        "governor": {"divergence_patience": 1},
    }
    config = override(TrainingConfig(task=task.name), changes)
    environment = build_environment(task, config, build_host, "cpu", workers=2, telemetry=hub)
    try:
        reward = build_reward(config.reward, gamma=config.ppo.gamma)
        rules = HeuristicController(environment.spec, HeuristicConfig())
        controllers = [Killer(environment), rules]
        run_controllers(environment, controllers, reward, hub, rounds=1, rng_seed=config.seed)
    finally:
        environment.close()


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """The events of real commands, and of rules that were provoked."""
    folder = tmp_path_factory.mktemp("coverage")
    train(folder)
    found = []
    for log in folder.glob("*/events.jsonl"):
        with EventReader(log) as reader:
            found.append(list(reader.read()))
    memory = Memory()
    with Hub("provoked", [memory], frozenset(PAYLOADS)) as hub:
        provoke(hub)
    lost = Memory()
    with Hub("lost", [lost], frozenset(PAYLOADS)) as hub:
        lose_a_worker_and_a_host(hub)
    return [*found, memory.events, lost.events]


@pytest.mark.slow
def test_every_kind_is_written_by_something_real(logs):
    assert set(PAYLOADS) == {event.kind for log in logs for event in log}


SHOWN = {
    "run_started": "header.task",
    "run_phase": "phase.steps",
    "environment_built": "header.host_parameters",
    "episode_started": "hosts.hosts",
    "epoch_completed": "host.train_loss",
    "episode_outcome": "leaderboard.rows",
    "round_completed": "rounds.rows",
    "ppo_update": "policy.heads",
    "decision": "decisions.cards",
    "throughput": "machine.host_epochs_per_second",
    "vitals": "machine.rss_mb",
    "counterfactual_matrix": "host.counterfactuals",
    "shapley_measured": "host.shapley",
    "profile_measured": "profiles.rows",
    "test_evaluated": "host.test_accuracy",
    "seed_gate_evaluated": "host.slots",
}
"""Where a kind is shown: a panel and its field. All others are lines of the log, by name."""


def shown_parts(state):
    """Returns every field of every panel of every view; a panel of one host is named ``host``."""
    views = (*VIEWS, *(f"host/{each.index}" for each in state.environments))
    return {
        (name, part.name): repr(getattr(panel.value, part.name))
        for view in views
        for name, panel in frame(state, view).panels.items()
        for part in fields(panel.value)
    }


def changes(before, state):
    """Returns the fields that differ, as ``panel.field``."""
    old, new = shown_parts(before), shown_parts(state)
    return {
        f"{name.split('/')[0]}.{part}"
        for name, part in new
        if old.get((name, part)) != new[(name, part)]
    }


def is_shown(before, state, event):
    """Whether a state shows an event that the state before it did not."""
    if event.kind in SHOWN:
        return SHOWN[event.kind] in changes(before, state)
    lines = frame(state, "log").panels["log"].value.lines
    return (event.sequence, event.kind) in {(line.sequence, line.kind) for line in lines}


def check_shown(logs, kinds):
    """Checks that some event of each kind changes what a reader folds, and what it shows."""
    folded, shown = set(), set()
    for log in logs:
        state, looked_at = RunState(), Counter()
        for event in log:
            before, state = state, reduce(state, event)
            looked_at[event.kind] += 1
            if event.kind in shown or looked_at[event.kind] > 3:
                continue
            if replace(state, cursor=before.cursor) != before:
                folded.add(event.kind)
            if is_shown(before, state, event):
                shown.add(event.kind)
    assert kinds - folded == set()
    assert kinds - shown == set()


@pytest.mark.slow
def test_every_written_kind_is_folded_and_shown(logs):
    check_shown(logs, set(PAYLOADS))


def test_every_kind_of_the_recorded_log_is_folded_and_shown(tmp_path):
    log = tmp_path / "events.jsonl"
    log.write_bytes(gzip.decompress((GOLDEN / "everything.jsonl.gz").read_bytes()))
    with EventReader(log) as reader:
        check_shown([list(reader.read())], set(PAYLOADS) - {"run_completed"})


def test_an_event_that_changes_no_panel_is_not_shown():
    """What the header says of time alone does not count."""
    event = Event(
        sequence=0,
        monotonic=1.0,
        wall_time=1.0,
        payload=Throughput(host_epochs_per_second=1.0, seconds={}),
    )
    state = reduce(RunState(), event)
    assert is_shown(RunState(), state, event)
    later = replace(state, cursor=replace(state.cursor, sequence=1, monotonic=2.0, last_wall=2.0))
    assert changes(state, later) >= {"header.elapsed"}
    assert not is_shown(state, later, event)
