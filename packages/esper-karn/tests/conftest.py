"""A run of fixed events for Karn's tests."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import pytest
from websockets.sync.client import connect

from esper_karn.web.access import Access, permitted_hosts
from esper_karn.web.listener import bind
from esper_karn.web.serve import server_of
from esper_leyline import (
    Blueprint,
    RoundSummary,
    SeedEvent,
    SeedEventKind,
    SeedReport,
    SeedStage,
    TrainingConfig,
    override,
)
from esper_leyline.events import (
    AnyPayload,
    CheckpointSaved,
    EnvironmentBuilt,
    EpisodeOutcome,
    EpochCompleted,
    Event,
    NumericalInstability,
    PPOUpdate,
    RoundCompleted,
    RunCompleted,
    RunStarted,
    encode_event,
    parse_event,
)
from esper_leyline.reports import HostReport

HOSTS, EPOCHS = 2, 3


def started(rounds: int) -> RunStarted:
    return RunStarted(
        command="ppo",
        config=override(
            TrainingConfig(task="mnist1d"),
            {"n_episodes": rounds, "n_envs": HOSTS, "max_epochs": EPOCHS, "device": "cpu"},
        ),
        versions={"python": "3.11"},
    )


def built(policy: int | None = 45_123) -> EnvironmentBuilt:
    return EnvironmentBuilt(slots=("r0c0", "r0c1"), host_parameters=782, policy_parameters=policy)


def round_summary(number: int, rounds: int) -> RoundSummary:
    return RoundSummary(
        round=number,
        episodes=HOSTS,
        mean_return=-1.0 + 4.0 * number / rounds,
        mean_accuracy=40.0 + 20.0 * number / rounds,
        best_accuracy=45.0 + 20.0 * number / rounds,
        ops={"WAIT": 3, "GERMINATE": 1, "FOSSILIZE": number % 2, "PRUNE": 1 - number % 2},
        germinated=2,
        fossilized=number % 2,
        pruned=1 - number % 2,
        grown_parameters=100.0 * number / rounds,
        rollbacks=int(number == 2),
        seconds=6.0,
    )


def update(number: int) -> PPOUpdate:
    return PPOUpdate(
        policy_loss=-0.01,
        value_loss=float("inf") if number == 3 else 0.5,
        entropy=0.9 - 0.01 * number,
        head_entropy={"op": 0.8, "slot": None},
        head_gradient_norm={"op": 0.1, "slot": None},
        gradient_norm=1.0,
        kl=float("nan") if number == 3 else 0.001 * number,
        clip_fraction=0.1,
        ratio_min=0.9,
        ratio_max=1.1,
        explained_variance=0.2,
        advantage_mean=0.0,
        advantage_std=1.0,
        return_mean=0.5,
        return_std=1.0,
        lstm_hidden_norm=1.0,
        lstm_cell_norm=1.0,
        q_values=(),
        q_spread=None,
        learning_rate=1e-3,
        entropy_coefficient=0.01,
        passes=4,
        seconds={"update": 0.2},
        skipped="the loss is not finite" if number == 3 else None,
    )


def epoch_payloads(number: int, epoch: int, host: int) -> Iterator[AnyPayload]:
    stage = (SeedStage.TRAINING, SeedStage.BLENDING, SeedStage.FOSSILIZED)[epoch - 1]
    seed = SeedEvent(
        kind=SeedEventKind.GERMINATED,
        slot="r0c0",
        source=SeedStage.DORMANT,
        target=SeedStage.GERMINATED,
        blueprint=Blueprint.NORM,
        parameters=33,
    )
    if epoch == 1:
        yield seed
    changed = replace(seed, kind=SeedEventKind.STAGE_CHANGED, alpha=0.3 * epoch)
    yield replace(changed, source=SeedStage.GERMINATED, target=stage)
    if epoch == EPOCHS:
        kind = SeedEventKind.FOSSILIZED if number % 2 else SeedEventKind.PRUNED
        yield replace(seed, kind=kind, age=2, contribution=1.5)
    host = HostReport(
        train_loss=2.0 / epoch,
        train_accuracy=30.0,
        val_loss=2.1 / epoch,
        val_accuracy=None if epoch == 1 else 30.0 + 5.0 * epoch + host,
        seeds=(
            SeedReport(slot="r0c0", stage=stage, blueprint=Blueprint.NORM, parameters=33),
            SeedReport(slot="r0c1"),
        ),
        host_parameters=782,
        fossil_parameters=0,
        live_parameters=33,
    )
    yield EpochCompleted(host=host)


def outcome(number: int, host: int) -> EpisodeOutcome:
    return EpisodeOutcome(
        rng_seed=number * 10 + host,
        episode_return=0.5 * number + host,
        reward_components={"terminal": 1.0},
        ended="horizon",
        best_val_accuracy=46.0,
        germinated=1,
        fossilized=number % 2,
        pruned=1 - number % 2,
        host=HostReport(seeds=(), host_parameters=782, fossil_parameters=33, val_accuracy=45.0),
    )


Emitted = tuple[AnyPayload, dict[str, int]]


def payloads(
    rounds: int, *, policy: int | None, update_first: bool, end: bool
) -> Iterator[Emitted]:
    """Payloads, and what the envelope says of each."""
    yield started(rounds), {}
    yield built(policy), {}
    for number in range(1, rounds + 1):
        for epoch in range(1, EPOCHS + 1):
            for host in range(HOSTS):
                where = {"round": number, "epoch": epoch, "environment": host}
                yield from ((each, where) for each in epoch_payloads(number, epoch, host))
        for host in range(HOSTS):
            yield (
                outcome(number, host),
                {"round": number, "epoch": EPOCHS, "environment": host},
            )
        here = {"round": number}
        if number == 2:
            yield NumericalInstability(where="loss", consecutive=1), here
        learned = [] if policy is None else [(update(number), here)]
        ended = [(RoundCompleted(summary=round_summary(number, rounds)), here)]
        yield from (learned + ended) if update_first else (ended + learned)
        yield CheckpointSaved(path=f"checkpoints/{number}.pt", rounds_completed=number), {}
    if end:
        yield RunCompleted(status="completed", rounds_completed=rounds, seconds=6.0 * rounds), {}


def make_events(
    rounds: int = 4,
    *,
    policy: int | None = 45_123,
    update_first: bool = False,
    end: bool = True,
    run_id: str = "20250101-120000-mnist1d-0123abcd",
) -> list[Event]:
    """A run of which every event takes half a second of its own time, as its log holds it."""
    return list(_made(rounds, policy, update_first, end, run_id))


@cache
def _made(
    rounds: int, policy: int | None, update_first: bool, end: bool, run_id: str
) -> tuple[Event, ...]:
    made = payloads(rounds, policy=policy, update_first=update_first, end=end)
    events = (
        Event(
            run_id=run_id,
            sequence=number,
            monotonic=0.5 * max(0, number - 1),
            wall_time=1_735_732_800.0 + 0.5 * max(0, number - 1),
            **where,
            payload=payload,
        )
        for number, (payload, where) in enumerate(made)
    )
    return tuple(parse_event(encode_event(event)) for event in events)


@pytest.fixture(scope="session")
def run_of() -> Callable[..., list[Event]]:
    return make_events


def log_text(events: list[Event]) -> bytes:
    return b"".join(encode_event(event) + b"\n" for event in events)


@pytest.fixture(scope="session")
def as_log() -> Callable[[list[Event]], bytes]:
    return log_text


@pytest.fixture
def caches(tmp_path):
    return tmp_path / "caches"


@pytest.fixture
def write_run(tmp_path, run_of, as_log):
    """Writes a run directory with the log of fixed events."""

    def write(name="a", text=None, **shape):
        path = tmp_path / "runs" / name
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").write_text("{}")
        if text is None:
            text = as_log(run_of(**shape))
        (path / "events.jsonl").write_bytes(text)
        return path

    return write


class RunningServer:
    """An application on a free port of this machine, as ``serve`` runs it.

    Args:
        application: Makes the application from what a request must carry.
        hosts: Further names by which it may be called.
    """

    def __init__(self, application, hosts=()):
        self.listener = bind(0)
        self.port = self.listener.getsockname()[1]
        hosts = permitted_hosts(["127.0.0.1"], hosts)
        self.access = Access(token="the-right-token", port=self.port, hosts=hosts)
        self.cookie = f"{self.access.cookie_name}={self.access.cookie_value}"
        self.server = server_of(application(self.access))
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],))

    def __enter__(self):
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join()

    def connect(self, *, origin="own", cookie="own", host="127.0.0.1"):
        """Opens a socket, by default as the server's own page does."""
        address = f"{host}:{self.port}"
        return connect(
            f"ws://{address}/ws",
            origin=f"http://{address}" if origin == "own" else origin,
            additional_headers={"Cookie": self.cookie if cookie == "own" else cookie},
            proxy=None,
            sock=socket.create_connection(("127.0.0.1", self.port), timeout=10),
        )


@pytest.fixture(scope="session")
def running_server():
    return RunningServer
