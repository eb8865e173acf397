"""Every kind of event is written by something real, changes a reader's state, and is shown."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

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


@pytest.mark.slow
def test_every_written_kind_is_folded_and_shown(logs):
    seen, hidden, idle = set(), set(), set()
    for log in logs:
        state = RunState()
        for event in log:
            before, state = state, reduce(state, event)
            if event.kind in seen:
                continue
            seen.add(event.kind)
            if replace(state, cursor=before.cursor) == before:
                idle.add(event.kind)
            if not any(frame(state, view, event.sequence - 1).panels for view in VIEWS):
                hidden.add(event.kind)
    assert not idle
    assert not hidden
