from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_kasmina import BLUEPRINTS, ActivationSpec, KasminaError, SeedSlot, build_host
from esper_leyline import (
    OCCUPIED_STAGES,
    Advance,
    AlphaCurve,
    BlendAlgorithm,
    BlendStyle,
    Blueprint,
    CNNHostSpec,
    Fossilize,
    Germinate,
    HostOptions,
    LifecycleRules,
    MLPHostSpec,
    Op,
    Prune,
    SeedCommand,
    SeedEventKind,
    SeedMeasurement,
    SeedStage,
    SetAlphaTarget,
    TransformerHostSpec,
)
from esper_leyline.lifecycle.stages import TRANSITIONS

TINY = {
    "cnn": CNNHostSpec(
        input_shape=(1, 6), classes=3, widths=(4, 4), kernel=1, pools=(False, False)
    ),
    "mlp": MLPHostSpec(input_shape=(6,), classes=3, widths=(4, 4)),
    "gpt": TransformerHostSpec(
        vocabulary=5, width=4, heads=2, layers=2, block=6, layers_per_slot=1
    ),
}


def commands(spec) -> dict[Op, st.SearchStrategy]:
    """Every command that fits a host, by op."""
    styles = st.sampled_from(BlendStyle)
    targets = st.sampled_from([0.5, 1.0])
    return {
        Op.GERMINATE: st.builds(
            Germinate,
            blueprint=st.sampled_from(sorted(BLUEPRINTS[spec.topology])),
            style=styles,
            alpha_target=targets,
        ),
        Op.ADVANCE: st.just(Advance()),
        Op.SET_ALPHA_TARGET: st.builds(
            SetAlphaTarget,
            style=styles,
            alpha_target=targets,
            ticks=st.sampled_from([0, 3]),
            curve=st.sampled_from(AlphaCurve),
        ),
        Op.PRUNE: st.builds(
            Prune, ticks=st.sampled_from([0, 3]), curve=st.sampled_from(AlphaCurve)
        ),
        Op.FOSSILIZE: st.just(Fossilize()),
    }


RULES = st.builds(
    LifecycleRules,
    min_prune_age=st.sampled_from([0, 2]),
    embargo_ticks=st.sampled_from([1, 3]),
    auto_forward_g1=st.booleans(),
    auto_forward_g2=st.booleans(),
    auto_forward_g3=st.booleans(),
    permissive_gates=st.booleans(),
    g2_min_epochs=st.sampled_from([1, 2]),
    g2_min_improvement=st.just(0.0),
    g2_min_gradient_ratio=st.sampled_from([0.0, 1e-3]),
    g3_min_epochs=st.sampled_from([1, 4]),
    g5_min_contribution=st.just(1.0),
)


HEAD_STARTS = st.tuples(*[st.sampled_from([0, 3, 8])] * 2)
"""Epochs in which the seed of each slot is pushed on before the random commands begin."""


def make_inputs(spec) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    if isinstance(spec, TransformerHostSpec):
        return torch.randint(spec.vocabulary, (4, spec.block), generator=generator)
    return torch.randn(4, *spec.input_shape, generator=generator)


def epoch(host, optimizer, contribution: float | None) -> None:
    host.sync_optimizer(optimizer)
    host.train()
    optimizer.zero_grad()
    host(make_inputs(host.spec)).logsumexp(-1).sum().backward()
    optimizer.step()
    host.record_gradients()
    measured = [] if contribution is None else [r.slot for r in host.seed_reports() if r.occupied]
    host.record_validation(
        50.0, [SeedMeasurement(slot=s, contribution=contribution) for s in measured]
    )
    host.tick()
    host.sync_optimizer(optimizer)


def check_moves_are_legal(host) -> None:
    for event in host.take_events():
        if event.kind is SeedEventKind.STAGE_CHANGED:
            assert event.target in TRANSITIONS[event.source]


def check_nothing_leaks(host, optimizer) -> None:
    reports = {report.slot: report for report in host.seed_reports()}
    occupied = {slot for slot, report in reports.items() if report.stage in OCCUPIED_STAGES}
    assert {slot for slot in host.slots if host.slot(slot).seed is not None} == occupied
    counts = host.parameter_counts()
    expected = counts.host + sum(report.parameters for report in reports.values())
    assert sum(p.numel() for p in host.parameters()) == expected
    assert counts.fossil + counts.live == expected - counts.host
    assert {group.get("esper_slot") for group in optimizer.param_groups} == occupied | {None}
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in host.parameters())
    assert {id(p) for p in optimizer.state} <= set(held)
    hooks = [module._forward_hooks or module._backward_hooks for module in host.modules()]
    assert not any(hooks)
    check_seeds_are_as_reported([(host.slot(slot).seed, reports[slot]) for slot in occupied])


def check_seeds_are_as_reported(seeds) -> None:
    for seed, report in seeds:
        assert seed.algorithm is report.style.algorithm
        assert (seed.gate is not None) == (seed.algorithm is BlendAlgorithm.GATE)
        assert seed.size == report.parameters
        assert seed.frozen == report.pruning
        assert all(p.requires_grad != report.pruning for p in seed.parameters())


def push(host, slot: str, orders, data) -> None:
    """Gives a slot the command that moves its seed on, if there is one."""
    report = next(report for report in host.seed_reports() if report.slot == slot)
    for op in {Op.GERMINATE, Op.ADVANCE} & set(report.permitted):
        host.apply_command(SeedCommand(slot=slot, command=data.draw(orders[op])))


@pytest.mark.parametrize("spec", TINY.values(), ids=TINY)
@settings(max_examples=20, deadline=None)
@given(data=st.data(), rules=RULES, max_seeds=st.sampled_from([None, 1]))
def test_permitted_ops_are_exactly_the_accepted_commands(spec, data, rules, max_seeds):
    host = build_host(
        spec, HostOptions(slots=spec.slots, rules=rules, max_seeds=max_seeds, rng_seed=0)
    )
    optimizer = torch.optim.SGD(host.parameters(), lr=0.01, momentum=0.9)
    orders = commands(spec)
    for slot, pushes in zip(host.slots, data.draw(HEAD_STARTS), strict=True):
        for _ in range(pushes):
            push(host, slot, orders, data)
            epoch(host, optimizer, contribution=2.0)
    for _ in range(data.draw(st.integers(1, 12))):
        report = data.draw(st.sampled_from(host.seed_reports()))
        wanted = data.draw(st.sampled_from(report.permitted or tuple(orders)))
        op = data.draw(st.sampled_from([wanted, wanted, *orders]))
        command = data.draw(orders[op])
        before = host.seed_reports()
        result = host.apply_command(SeedCommand(slot=report.slot, command=command))
        assert result.accepted == (op in report.permitted), (op, result.reason)
        assert result.accepted == (result.reason is None)
        if not result.accepted:
            assert host.seed_reports() == before
        for _ in range(data.draw(st.sampled_from([0, 1, 3]))):
            epoch(host, optimizer, contribution=data.draw(st.sampled_from([None, 0.5, 2.0])))
            check_nothing_leaks(host, optimizer)
        check_moves_are_legal(host)


def test_a_seed_goes_through_all_stages(family, style, make_host, grow):
    host = make_host(family)
    grow(host, "r0c1", SeedStage.FOSSILIZED, style=style)
    changes = [e.target for e in host.take_events() if e.kind is SeedEventKind.STAGE_CHANGED]
    assert changes == [
        SeedStage.GERMINATED,
        SeedStage.TRAINING,
        SeedStage.BLENDING,
        SeedStage.HOLDING,
        SeedStage.FOSSILIZED,
    ]
    assert host.parameter_counts().fossil == host.slot("r0c1").seed.size
    assert host.parameter_counts().live == 0


def test_ticks_of_an_embargo_are_counted_once(make_host, grow, order):
    host = make_host(min_prune_age=0, embargo_ticks=5)
    grow(host, "r0c0", SeedStage.TRAINING)
    order(host, "r0c0", Prune())
    stages = []
    while host.slot("r0c0").stage is not SeedStage.DORMANT:
        stages.append(host.slot("r0c0").stage)
        host.tick()
    embargo = [SeedStage.EMBARGOED] * 5
    assert stages == [SeedStage.PRUNED, *embargo, SeedStage.RESETTING]


def test_a_slot_can_be_used_again_after_a_prune(make_host, grow):
    host = make_host()
    grow(host, "r0c0", SeedStage.HOLDING)
    host.prune_live()
    for _ in range(7):
        host.tick()
    assert host.seed_reports()[0] == make_host().seed_reports()[0]
    grow(host, "r0c0", SeedStage.FOSSILIZED, Blueprint.NORM)


def retarget(style) -> SetAlphaTarget:
    return SetAlphaTarget(style=style, alpha_target=1.0, ticks=0)


def test_the_gate_is_added_and_removed_with_the_blend_style(family, make_host, grow, order, train):
    host = make_host(family)
    optimizer = torch.optim.SGD(host.parameters(), lr=0.05, momentum=0.9)
    grow(host, "r0c0", SeedStage.HOLDING, style=BlendStyle.LINEAR_ADD)
    host.sync_optimizer(optimizer)
    train(host, optimizer=optimizer)
    seed, inputs = host.slot("r0c0").seed, make_inputs(family)
    bare, momenta = seed.size, {p: optimizer.state[p] for p in seed.parameters()}
    before = host.eval()(inputs)

    order(host, "r0c0", retarget(BlendStyle.GATED_GATE))
    host.sync_optimizer(optimizer)
    assert torch.equal(host(inputs), before)  # a new gate changes nothing
    assert seed.size == bare + seed.activations.channels + 1 == host.parameter_counts().live
    train(host, optimizer=optimizer)
    gate = list(seed.gate.parameters())
    assert all(p.abs().max() > 0 for p in gate)

    order(host, "r0c0", retarget(BlendStyle.LINEAR_MULTIPLY))
    host.sync_optimizer(optimizer)
    assert seed.gate is None
    assert seed.size == bare
    assert not any(p in optimizer.state for p in gate)
    assert all(optimizer.state[p] is state for p, state in momenta.items())


def test_adding_a_gate_does_not_change_the_global_generator(family, make_host, grow, order):
    host = make_host(family)
    grow(host, "r0c0", SeedStage.HOLDING)
    before = torch.get_rng_state()
    order(host, "r0c0", retarget(BlendStyle.GATED_GATE))
    assert torch.equal(torch.get_rng_state(), before)


def test_auto_forward_never_fossilizes(make_host, order, train):
    host = make_host(auto_forward_g1=True, auto_forward_g2=True, auto_forward_g3=True)
    order(host, "r0c0", Germinate(blueprint=Blueprint.CONV_SMALL))
    for _ in range(12):
        train(host)
    assert host.slot("r0c0").stage is SeedStage.HOLDING


def test_strict_gates_refuse_what_permissive_ones_accept(make_host, order, train):
    host = make_host(permissive_gates=False, g2_min_epochs=2, g2_min_gradient_ratio=1e-6)
    order(host, "r0c0", Germinate(blueprint=Blueprint.CONV_LIGHT))
    order(host, "r0c0", Advance())
    for _ in range(3):
        train(host)
    gate = host.seed_reports()[0].gate
    assert gate.failed_checks == ("stage_improvement",)
    assert "gradient_ratio" in gate.passed_checks
    host.record_validation(51.0, [])
    order(host, "r0c0", Advance())


def test_max_seeds_counts_live_and_fossilized_seeds(make_host, grow):
    host = make_host(max_seeds=2)
    grow(host, "r0c0", SeedStage.FOSSILIZED)
    grow(host, "r0c1", SeedStage.GERMINATED)
    assert Op.GERMINATE not in host.seed_reports()[2].permitted
    command = SeedCommand(slot="r0c2", command=Germinate(blueprint=Blueprint.NORM))
    result = host.apply_command(command)
    assert not result.accepted
    assert "2 seeds" in result.reason
    host.prune_live()
    assert Op.GERMINATE in host.seed_reports()[2].permitted
    assert host.apply_command(command).accepted


@pytest.mark.parametrize("wrong", [Blueprint.LORA, Blueprint.MLP, Blueprint.NOOP])
def test_blueprints_of_another_topology_are_refused(make_host, wrong):
    command = SeedCommand(slot="r0c0", command=Germinate(blueprint=wrong))
    result = make_host().apply_command(command)
    assert not result.accepted
    assert f"blueprint '{wrong}' does not fit" in result.reason


def test_a_command_to_an_unknown_slot_is_refused(make_host):
    result = make_host().apply_command(SeedCommand(slot="r4c4", command=Advance()))
    assert not result.accepted
    assert "r4c4" in result.reason


@pytest.mark.parametrize("command", ["germinate", Op.GERMINATE, Advance])
def test_an_object_that_is_not_a_command_is_refused(make_host, command):
    with pytest.raises(KasminaError, match=r"is not a command; give Germinate\(\.\.\.\), Advance"):
        make_host().slot("r0c0").apply_command(command)


def test_a_command_to_a_host_has_to_name_its_slot(make_host):
    with pytest.raises(KasminaError, match=r"SeedCommand\(slot='r0c0', command=\.\.\.\)"):
        make_host().apply_command(Advance())


def test_prune_live_removes_all_seeds_that_are_not_fossilized(make_host, grow, order):
    host = make_host(min_prune_age=3)
    grow(host, "r0c0", SeedStage.FOSSILIZED)
    grow(host, "r0c1", SeedStage.HOLDING)
    order(host, "r0c1", Prune(ticks=8))
    grow(host, "r0c2", SeedStage.GERMINATED)
    host.prune_live()
    stages = [report.stage for report in host.seed_reports()]
    assert stages == [SeedStage.FOSSILIZED, SeedStage.PRUNED, SeedStage.PRUNED]
    assert host.parameter_counts().live == 0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SeedSlot("left"), KasminaError, "'left' is not a slot id"),
        (lambda: SeedSlot("r0c0", 8), KasminaError, "'r0c0' are 8; .*ActivationSpec.maps"),
        (lambda: SeedSlot("r0c0", rules="strict"), KasminaError, "rules are 'strict'; give Lif"),
        (lambda: ActivationSpec.maps(0), KasminaError, "0 channels"),
        (lambda: ActivationSpec.maps(4, dimensions=4), KasminaError, "4 spatial dimensions"),
    ],
)
def test_invalid_arguments_of_a_slot_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
