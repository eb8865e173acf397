"""A run with every kind of event, every stage of a seed and every verdict, by the real hub."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from esper_leyline import (
    HEADS,
    Blueprint,
    EpisodeEnd,
    FactoredAction,
    Flag,
    Gate,
    GovernorCause,
    Op,
    Rollback,
    RoundSummary,
    SeedEvent,
    SeedEventKind,
    SeedReport,
    SeedStage,
    TrainingConfig,
    head_sizes,
    override,
)
from esper_leyline import events as e
from esper_leyline.lifecycle.gates import GateResult
from esper_leyline.lifecycle.machine import AlphaMode
from esper_leyline.profiles import HostProfile, LayerProfile, Sharpness
from esper_leyline.reports import (
    CounterfactualConfig,
    EvaluationReport,
    HostReport,
    RewardBreakdown,
    ShapleyValues,
)
from esper_nissa import Hub, JsonlSink

HOSTS, EPOCHS, ROUNDS = 3, 12, 8
HOSTILE = "\x1b[31mred\x1b[0m <img src=x onerror=alert(1)> \u202eright to left"
"""Text that a terminal or a page must show, and not obey."""

STAGES = [stage for stage in SeedStage if stage is not SeedStage.UNKNOWN]
SLOTS = tuple(f"r0c{index}" for index in range(len(STAGES)))

Emitted = tuple[e.AnyPayload, dict[str, int]]


def record_everything(folder: Path) -> bytes:
    """Returns the log of two processes: the second one resumes the run, and fails.

    Its clock goes on by a quarter of a second per event, so the same code writes the same log.
    """
    log = folder / "events.jsonl"
    clock = Clock()
    sequence = 0
    for boot, payloads in enumerate([list(first_process()), list(second_process())]):
        sink = JsonlSink(log, new=boot == 0)
        run_id = "20270101-120000-mnist1d_blind-0e0e0e0e"
        with (
            patch("esper_nissa.hub.time", clock),
            Hub(run_id, [sink], frozenset(e.PAYLOADS), boot=boot, sequence=sequence) as hub,
        ):
            for payload, where in payloads:
                clock.now += 0.25
                hub.emit(payload, **where)
        sequence += len(payloads)
    return log.read_bytes()


class Clock:
    """Stands for the module ``time`` in the hub; its two clocks agree in each thread."""

    def __init__(self) -> None:
        self.now = 0.0
        self._read = threading.local()

    def monotonic(self) -> float:
        """Seconds since the first process began."""
        self._read.at = self.now
        return float(self._read.at)

    def time(self) -> float:
        """Unix time, when this thread read the other clock last."""
        return 1_800_000_000.0 + float(self._read.at)


def first_process() -> Iterator[Emitted]:
    """Three rounds, in which everything goes wrong that may."""
    yield started(), {}
    for phase in e.Phase:
        if phase is not e.Phase.TESTING:
            yield e.RunPhase(phase=phase, detail=f"mnist1d_blind {HOSTILE}"), {}
    yield built(), {}
    for number in range(1, 4):
        yield from a_round(number)
        path = f"checkpoints/round-{number:05d}.safetensors"
        yield e.CheckpointSaved(path=path, rounds_completed=number), {}
    yield from anomalies(3)


def second_process() -> Iterator[Emitted]:
    """Two rounds again and more of them, a worker that dies, a test, and an error at the end."""
    path = "checkpoints/round-00001.safetensors"
    yield started(), {}
    yield e.RunResumed(checkpoint=path, rounds_completed=1), {}
    yield e.CheckpointLoaded(path=path, rounds_completed=1), {}
    yield built(), {}
    yield e.RunPhase(phase=e.Phase.TRAINING), {}
    lost = e.WorkerRestarted(
        worker=1, environments=(1, 2), reason="it was killed by signal 9", replayed_epochs=7
    )
    yield lost, {"round": 2}
    for number in range(2, ROUNDS):
        yield from a_round(number)
    yield e.RunPhase(phase=e.Phase.TESTING), {}
    for host in range(HOSTS):
        result = EvaluationReport(
            environment=host,
            rng_seed=host,
            test_loss=1.2,
            test_accuracy=60.0 + host,
            parameters=1200,
        )
        yield e.TestEvaluated(result=result), {"round": ROUNDS - 1, "environment": host}
    yield from a_round(ROUNDS, last_epoch=5)
    yield vitals(99.0), {}
    error = f"TrainingError: three updates in a row were not finite {HOSTILE}"
    yield e.RunFailed(error=error, rounds_completed=ROUNDS - 1, seconds=95.5), {}


def started() -> e.RunStarted:
    """A run of the default task, at the level that writes everything."""
    changes = {
        "n_episodes": ROUNDS,
        "n_envs": HOSTS,
        "max_epochs": EPOCHS,
        "device": "cpu",
        "telemetry": {"level": "debug", "profile": "research"},
    }
    config = override(TrainingConfig(task="mnist1d_blind"), changes)
    return e.RunStarted(command="ppo", config=config, versions={"python": "3.11", "torch": "2.15"})


def built() -> e.EnvironmentBuilt:
    """A slot for each stage."""
    return e.EnvironmentBuilt(
        slots=SLOTS, host_parameters=794, policy_parameters=49_831, plan="2 worker processes"
    )


def a_round(number: int, last_epoch: int = EPOCHS) -> Iterator[Emitted]:
    """One round; a host of the third is rolled back."""
    for host in range(HOSTS):
        start = e.EpisodeStarted(rng_seed=100 * number + host, device="cpu", worker=host % 2)
        yield start, {"round": number, "epoch": 0, "environment": host}
    for epoch in range(1, last_epoch + 1):
        for host in range(HOSTS):
            yield from an_epoch(number, epoch, host)
        if epoch % 4 == 0:
            yield vitals(40.0 + 10 * number), {}
    if last_epoch < EPOCHS:
        return
    for host in range(HOSTS):
        yield outcome(number, host), {"round": number, "epoch": EPOCHS, "environment": host}
    yield update(number), {"round": number}
    yield round_summary(number), {"round": number}
    seconds = {"training": 20.0, "validation": 4.0, "update": 0.5}
    speed = 40.0 if number < ROUNDS - 1 else 4.0
    yield e.Throughput(host_epochs_per_second=speed, seconds=seconds), {"round": number}


def an_epoch(number: int, epoch: int, host: int) -> Iterator[Emitted]:
    """What a debug log holds of one epoch of one host."""
    where = {"round": number, "epoch": epoch, "environment": host}
    for payload in lifecycle(epoch):
        yield payload, where
    yield e.EpochCompleted(host=host_report(number, epoch, host)), where
    yield counterfactuals(epoch), where
    yield decision(epoch, host), where
    if epoch == 6:
        yield profile(), where
    if epoch == EPOCHS:
        values = {SLOTS[2]: 1.5, SLOTS[3]: -0.5, SLOTS[4]: math.nan}
        yield ShapleyValues(values=values, exact=False, permutations=64), where


def lifecycle(epoch: int) -> Iterator[SeedEvent]:
    """Each slot goes on until it reaches its stage; the gate is judged each time."""
    for index, stage in enumerate(STAGES):
        seed = SeedEvent(
            kind=SeedEventKind.STAGE_CHANGED,
            slot=SLOTS[index],
            source=STAGES[max(0, min(epoch - 1, index) - 1)],
            target=STAGES[min(epoch - 1, index)],
            blueprint=Blueprint.CONV_LIGHT,
            parameters=528,
            age=epoch,
            alpha=min(1.0, epoch / 8),
            contribution=0.3 * epoch,
            gate=None,
        )
        if 1 < epoch <= index + 1:
            yield seed
        if epoch == index + 1 and stage in KINDS:
            yield SeedEvent(**{**fields(seed), "kind": KINDS[stage]})
        if epoch == 5 and stage is SeedStage.TRAINING:
            gate = GateResult(
                gate=Gate.G2, passed_checks=("gradients_finite",), failed_checks=("age", "health")
            )
            yield SeedEvent(**{**fields(seed), "kind": SeedEventKind.GATE_EVALUATED, "gate": gate})


KINDS = {
    SeedStage.GERMINATED: SeedEventKind.GERMINATED,
    SeedStage.FOSSILIZED: SeedEventKind.FOSSILIZED,
    SeedStage.PRUNED: SeedEventKind.PRUNED,
}


def fields(seed: SeedEvent) -> dict[str, object]:
    """Returns the fields of a seed's event."""
    return {name: getattr(seed, name) for name in seed.__dataclass_fields__}


def host_report(number: int, epoch: int, host: int) -> HostReport:
    """A host whose slots are on the way to their stages; one loss is NaN."""
    broken = number == 3 and host == 2 and epoch == 9
    seeds = tuple(slot_report(index, epoch) for index in range(len(SLOTS)))
    return HostReport(
        seeds=seeds,
        host_parameters=794,
        fossil_parameters=528,
        live_parameters=528 * 3,
        wasted_epoch_parameters=528 * epoch,
        train_loss=2.0 / epoch,
        train_accuracy=30.0 + 3 * epoch,
        val_loss=math.nan if broken else 2.2 / epoch,
        val_accuracy=math.nan if broken else 35.0 + 3.5 * epoch + host - number,
    )


def slot_report(index: int, epoch: int) -> SeedReport:
    """One slot after an epoch."""
    stage = STAGES[min(epoch - 1, index)]
    if stage is SeedStage.DORMANT:
        return SeedReport(slot=SLOTS[index], permitted=(Op.GERMINATE,))
    return SeedReport(
        slot=SLOTS[index],
        stage=stage,
        permitted=(Op.PRUNE, Op.ADVANCE),
        blueprint=list(Blueprint)[1 + index],
        tempo=5,
        alpha=min(1.0, epoch / 8),
        alpha_target=1.0,
        alpha_mode=AlphaMode.UP if stage is SeedStage.BLENDING else AlphaMode.HOLD,
        ramp_steps=5,
        ramp_done=min(5, epoch),
        epochs_in_stage=max(0, epoch - index),
        age=epoch,
        parameters=528,
        contribution=0.3 * epoch - index,
        contribution_velocity=0.3,
        counterfactual_age=0,
        interaction_sum=0.1 * index,
        stage_improvement=1.5,
        gradient_norm=math.inf if index == 3 else 0.2,
        gradient_health=0.8,
        gradient_vanishing=index > 4,
        gradient_exploding=index == 3,
    )


def counterfactuals(epoch: int) -> e.CounterfactualMatrix:
    """All seeds, none, and each alone; one was not measured."""
    active = SLOTS[2:5]
    alone = [((slot,), 40.0 + epoch + index) for index, slot in enumerate(active)]
    found = [((), 40.0 + epoch), *alone[:2], (active[:2], 44.0 + epoch), (active, 45.5 + epoch)]
    return e.CounterfactualMatrix(
        configurations=tuple(CounterfactualConfig(active=names, accuracy=a) for names, a in found)
    )


def decision(epoch: int, host: int) -> e.Decision:
    """Each op in turn, some of them rejected."""
    op = Op(epoch % len(Op))
    sizes = head_sizes(len(SLOTS))
    heads = {
        head: e.HeadDecision(
            probabilities=tuple(
                (1.0 / (sizes[head] - 1) if index else 0.0) for index in range(sizes[head])
            ),
            valid=tuple(index > 0 for index in range(sizes[head])),
        )
        for head in HEADS
    }
    rejected = host == 1 and epoch % 5 == 0
    return e.Decision(
        action=FactoredAction(op=op, slot=2, blueprint=Blueprint.NORM, tempo=1, alpha_target=1),
        slot=None if op is Op.WAIT else SLOTS[2],
        succeeded=not rejected,
        forced=epoch == 1,
        reason=f"a plateau of 3 epochs {HOSTILE}" if host == 2 else None,
        rejection="the slot is embargoed" if rejected else None,
        heads={} if host == 2 else heads,
        value=None if host == 2 else 0.5 * epoch,
        q_values=None if host == 2 else tuple(0.1 * index * epoch for index in range(len(Op))),
        reward=RewardBreakdown(
            components={
                "shaping": 0.3,
                "attribution": 0.2 * epoch - 1,
                "rent": -0.05,
                "alpha_shock": -0.01,
                "warnings": 0.0,
                "intervention": -0.01,
                "terminal": 0.0,
            },
            flags=(Flag(kind="inflated_contribution", slot=SLOTS[3]),) if epoch == 7 else (),
            notes=("contribution not measured",) if epoch == 1 else (),
        ),
    )


def profile() -> HostProfile:
    """What the profile ``research`` measures."""
    layers = tuple(
        LayerProfile(
            name=name,
            gradient_norm=norm,
            gradient_percentiles={5: 1e-6, 50: 1e-4, 95: 1e-2},
            zero_share=0.1,
            exploding_share=0.0,
            weight_norm=3.0,
        )
        for name, norm in (("blocks.0.conv", 0.3), ("blocks.1.conv", math.nan), ("head", 1.2))
    )
    accuracies = (*(50.0 + 5 * index for index in range(9)), None)
    sharpness = Sharpness(radius=0.05, directions=4, mean_rise=0.2, largest_rise=0.5)
    return HostProfile(
        profile="research",
        layers=layers,
        class_accuracy=accuracies,
        sharpness=sharpness,
        seconds=0.4,
    )


def outcome(number: int, host: int) -> e.EpisodeOutcome:
    """The end of an episode."""
    rolled_back = number == 3 and host == 2
    report = host_report(number, EPOCHS, host)
    return e.EpisodeOutcome(
        rng_seed=100 * number + host,
        episode_return=2.0 * number + host,
        reward_components={"shaping": 1.0, "attribution": 2.0 * number, "rent": -1.0 + host},
        ended=EpisodeEnd.GOVERNOR if rolled_back else EpisodeEnd.HORIZON,
        best_val_accuracy=report.val_accuracy,
        germinated=3,
        fossilized=1,
        pruned=1,
        host=report,
    )


def update(number: int) -> e.PPOUpdate:
    """An update that gets worse from round to round; the third is skipped."""
    skipped = number == 3
    worse = 10.0 ** min(number, 4)
    q_values = tuple(
        e.QValue(
            op=op.name,
            mean=None if op is Op.ADVANCE else 1.0 + 0.01 * op,
            variance=None if op is Op.ADVANCE else 0.5,
            valid_steps=0 if op is Op.ADVANCE else 36,
        )
        for op in Op
    )
    return e.PPOUpdate(
        policy_loss=math.nan if skipped else -0.02,
        value_loss=math.inf if skipped else 0.3,
        entropy=0.8 / number,
        head_entropy={head: (None if head == "alpha_curve" else 0.8 / worse) for head in HEADS},
        head_gradient_norm=dict.fromkeys(HEADS, 0.1),
        gradient_norm=2.0 * worse,
        gradient_kept=0.5 / worse,
        kl=0.01 * worse,
        head_kl=dict.fromkeys(HEADS, 0.001 * worse),
        clip_fraction=0.1,
        ratio_min=0.2,
        ratio_max=4.0,
        explained_variance=0.4 - number,
        advantage_mean=0.0,
        advantage_std=1.0,
        return_mean=3.0,
        return_std=2.0,
        lstm_hidden_norm=1.0,
        lstm_cell_norm=1.5,
        q_values=q_values,
        q_spread=0.04 / worse,
        learning_rate=3e-4,
        entropy_coefficient=0.05,
        passes=1 if skipped else 4,
        seconds={"forward": 0.1, "backward": 0.2},
        skipped="the loss is not finite" if skipped else None,
    )


def round_summary(number: int) -> e.RoundCompleted:
    """The line of a round."""
    summary = RoundSummary(
        round=number,
        episodes=HOSTS,
        mean_return=2.0 * number + 1,
        mean_accuracy=math.nan if number == 3 else 75.0 + number,
        best_accuracy=79.0 + number,
        ops={op.name: 6 for op in Op},
        germinated=9,
        fossilized=3,
        pruned=3,
        grown_parameters=528.0,
        rollbacks=int(number == 3) * 2,
        rollback_causes={"non_finite": 2} if number == 3 else {},
        seconds=25.0,
    )
    return e.RoundCompleted(summary=summary)


def vitals(percent: float) -> e.Vitals:
    """A machine with two GPUs, one of which tells nothing."""
    return e.Vitals(
        cpu_percent=percent,
        rss_mb=900.0,
        memory_mb=160.0 * percent,
        total_memory_mb=16_000.0,
        disk_free_mb=1500.0,
        total_disk_mb=64_000.0,
        gpus=(
            e.GpuVitals(
                index=0,
                name="NVIDIA H100 80GB HBM3",
                percent=percent,
                memory_mb=79_000.0,
                total_memory_mb=81_559.0,
                temperature=71.0,
            ),
            e.GpuVitals(index=1, name=f"unknown {HOSTILE}"),
        ),
    )


def anomalies(number: int) -> Iterator[Emitted]:
    """Everything that looks wrong, and every change of a host."""
    for payload in (
        e.RatioExplosion(ratio=12.0, threshold=5.0),
        e.RatioCollapse(ratio=0.01, threshold=0.1),
        e.ValueCollapse(explained_variance=-0.8, threshold=-0.5),
        e.EntropyCollapse(head="op", entropy=0.01, threshold=0.05),
        e.GradientPathology(where="policy", norm=math.inf, threshold=100.0),
        e.NumericalInstability(where=f"loss {HOSTILE}", consecutive=3),
        e.MemoryWarning(device="cuda:0", used_mb=79_000.0, total_mb=81_559.0),
        e.ThroughputWarning(current=4.0, typical=40.0),
    ):
        yield payload, {"round": number}
    where = {"round": number, "epoch": 9, "environment": 2}
    for change in (
        e.HostStabilized(val_loss=1.1),
        e.PlateauDetected(epochs_without_improvement=3),
        e.DegradationDetected(drop=4.0),
        e.ImprovementDetected(gain=3.0),
        e.PerformanceDegradation(best=70.0, current=40.0),
        e.RewardHackingSuspected(flag=Flag(kind="inflated_contribution", slot=SLOTS[3])),
        Rollback(cause=GovernorCause.NON_FINITE, loss=math.nan, threshold=None, restored_epoch=5),
    ):
        yield change, where
