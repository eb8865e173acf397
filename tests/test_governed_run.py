"""Hosts that break, each in its own way, in a run that continues and says why they ended."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field

import pytest
import torch
from rich.console import Console

from esper_karn import EventReader, follow
from esper_kasmina import build_host
from esper_leyline import FactoredAction, RunStatus, override
from esper_leyline.events import PAYLOADS, RunCompleted, RunStarted
from esper_nissa import Hub, JsonlSink
from esper_simic import build_reward, run_controllers
from esper_tolaria import LocalEnvironment, build_environment, find_preset, find_task

EPOCHS, STRUCK_AFTER = 12, 6


def poison(host):
    host.classifier.bias[0] = math.nan


def blow_up(host):
    host.classifier.weight *= 1e4


def reset(host):
    for block in host.blocks:
        block.norm.weight.fill_(0.01)
    host.classifier.weight.zero_()
    host.classifier.bias.zero_()


@dataclass
class Saboteur:
    """A controller that lets its host be, and strikes it once an episode, each time otherwise."""

    environment: LocalEnvironment
    harms: list = field(default_factory=list)

    def reset(self, rng_seed: int) -> None:
        del rng_seed
        self.harm = self.harms.pop(0) if self.harms else None

    @torch.no_grad()
    def decide(self, report) -> FactoredAction:
        if self.harm is not None and report.epoch == STRUCK_AFTER:
            self.harm(self.environment._episodes[report.environment]._host)
            self.harm = None
        return FactoredAction()


def play(log, harms):
    """Three rounds of two hosts; returns every event."""
    brief = (
        find_task("mnist1d_blind").spec.training.model_copy(update={"max_batches": 6}).model_dump()
    )
    config = override(
        find_preset("mnist1d_blind"),
        {"n_episodes": 3, "n_envs": 2, "max_epochs": EPOCHS, "host": brief, "device": "cpu"},
    )
    environment = build_environment(find_task("mnist1d_blind").spec, config, build_host, workers=1)
    controllers = [Saboteur(environment, list(harms)), Saboteur(environment)]
    reward = build_reward(config.reward, gamma=config.ppo.gamma)
    with Hub("governed", [JsonlSink(log)], frozenset(PAYLOADS)) as hub:
        hub.emit(RunStarted(command="heuristic", config=config, versions={}))
        outcome = run_controllers(
            environment, controllers, reward, hub, rounds=3, rng_seed=config.seed
        )
        hub.emit(RunCompleted(status=outcome.status, rounds_completed=3, seconds=1.0))
    environment.close()
    with EventReader(log) as reader:
        return list(reader.read())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The log of a run in which the first host breaks in every round, and both runs' events."""
    log = tmp_path_factory.mktemp("governed") / "events.jsonl"
    struck = play(log, [poison, blow_up, reset])
    return log, struck, play(log.with_name("calm.jsonl"), [])


def of_host(events, environment, *kinds):
    return [event for event in events if event.environment == environment and event.kind in kinds]


def test_the_run_goes_on_and_its_events_say_why_hosts_ended(runs):
    _, struck, _ = runs
    rollbacks = of_host(struck, 0, "governor_rolled_back")
    assert [(each.round, each.epoch, each.payload.cause.value) for each in rollbacks] == [
        (1, STRUCK_AFTER + 1, "non_finite"),
        (2, STRUCK_AFTER + 3, "divergence"),
        (3, STRUCK_AFTER + 1, "return_to_chance"),
    ]
    assert [each.payload.restored_epoch for each in rollbacks] == [5, 5, 5]
    outcomes = of_host(struck, 0, "episode_outcome")
    assert [each.payload.ended.value for each in outcomes] == ["governor"] * 3
    assert [each.epoch for each in outcomes] == [each.epoch for each in rollbacks]
    rounds = [event.payload.summary for event in struck if event.kind == "round_completed"]
    assert [each.rollback_causes for each in rounds] == [
        {"non_finite": 1},
        {"divergence": 1},
        {"return_to_chance": 1},
    ]


def test_the_other_host_is_not_affected(runs):
    _, struck, calm = runs
    kinds = ("epoch_completed", "decision", "episode_outcome")
    one, other = (
        [(each.round, each.epoch, each.payload) for each in of_host(events, 1, *kinds)]
        for events in (struck, calm)
    )
    assert one == other
    assert len(of_host(calm, 1, "epoch_completed")) == 3 * EPOCHS
    assert not of_host(calm, 0, "governor_rolled_back")


def test_the_console_says_why(runs):
    log, _, _ = runs
    console = Console(file=io.StringIO(), width=200, _environ={})
    state = follow(log, console, stop=lambda: True)
    lines = [each for each in console.file.getvalue().splitlines() if each.startswith("round ")]
    assert state.status is RunStatus.COMPLETED
    assert [line.rsplit("  ", 1)[1].strip() for line in lines] == [
        "1 rolled back: 1 non_finite",
        "1 rolled back: 1 divergence",
        "1 rolled back: 1 return_to_chance",
    ]
    notices = [each.text for each in state.notices.anomalies if "rolled" in each.text]
    assert notices[0] == "rolled back to epoch 5: non_finite, loss nan"
    assert notices[1].startswith("rolled back to epoch 5: divergence, loss ")
    assert notices[1].endswith(" above 12")
