"""Step reports to pay for, made by hand and by hypothesis."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from esper_leyline import (
    CounterfactualConfig,
    EpisodeEnd,
    FactoredAction,
    GovernorCause,
    Op,
    Rollback,
    SeedReport,
    SeedStage,
    StepReport,
)

SLOTS = ("r0c0", "r0c1", "r0c2")

any_float = st.one_of(st.none(), st.floats(), st.floats(min_value=-100, max_value=100))
any_count = st.integers(min_value=0, max_value=10**12)


def report(*seeds: SeedReport, **facts) -> StepReport:
    given = {seed.slot: seed for seed in seeds}
    base = StepReport(
        environment=0,
        rng_seed=1,
        epoch=3,
        max_epochs=20,
        seeds=tuple(given.get(slot, SeedReport(slot=slot)) for slot in SLOTS),
        host_parameters=1000,
        val_accuracy=50.0,
        action_succeeded=True,
    )
    return replace(base, **facts)


def seed(stage: SeedStage, contribution: float | None = None, **facts) -> SeedReport:
    return replace(SeedReport(slot="r0c0", stage=stage, contribution=contribution), **facts)


def act(op: Op, slot: int = 0) -> FactoredAction:
    return FactoredAction(op=op, slot=slot)


actions = st.builds(act, st.sampled_from(Op), st.integers(min_value=0, max_value=5))


def seeds_in(slot: str) -> st.SearchStrategy[SeedReport]:
    return st.builds(
        SeedReport,
        slot=st.just(slot),
        stage=st.sampled_from(SeedStage),
        alpha=st.floats(),
        pruning=st.booleans(),
        epochs_in_stage=st.integers(min_value=0, max_value=200),
        age=st.integers(min_value=0, max_value=200),
        parameters=any_count,
        contribution=any_float,
    )


rollbacks = st.builds(
    Rollback,
    cause=st.sampled_from(GovernorCause),
    loss=st.floats(),
    threshold=st.none(),
    restored_epoch=st.just(0),
)
configurations = st.builds(
    CounterfactualConfig,
    active=st.lists(st.sampled_from(SLOTS), unique=True).map(sorted).map(tuple),
    accuracy=st.floats(),
)


def any_report(**fixed) -> st.SearchStrategy[StepReport]:
    facts = {
        "epoch": st.integers(min_value=0, max_value=200),
        "max_epochs": st.integers(min_value=0, max_value=200),
        "host_parameters": any_count,
        "fossil_parameters": any_count,
        "live_parameters": any_count,
        "val_loss": any_float,
        "val_accuracy": any_float,
        "action_succeeded": st.one_of(st.none(), st.booleans()),
        "counterfactuals": st.lists(configurations, max_size=3).map(tuple),
        "rollback": st.one_of(st.none(), rollbacks),
        "ended": st.one_of(st.none(), st.sampled_from(EpisodeEnd)),
    }
    facts |= {name: st.just(value) for name, value in fixed.items()}
    return st.builds(
        StepReport,
        environment=st.integers(min_value=0, max_value=1),
        rng_seed=st.just(0),
        seeds=st.tuples(*(seeds_in(slot) for slot in SLOTS)),
        **facts,
    )
