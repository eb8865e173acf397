"""A ``state_dict`` is the whole model: weights, seeds, lifecycle and what was measured."""

from __future__ import annotations

import io
import math

import pytest
import torch
from torch import nn

from esper_kasmina import (
    BLUEPRINTS,
    ActivationSpec,
    SeedSlot,
    parameter_groups,
    sync_optimizer,
)
from esper_kasmina.slots.record import MAX_UNREAD_EVENTS
from esper_leyline import (
    Advance,
    AlphaCurve,
    BlendStyle,
    Blueprint,
    Fossilize,
    Germinate,
    Prune,
    SeedCommand,
    SeedMeasurement,
    SeedStage,
    Topology,
)

BLENDED = ["blending", "holding", "pruning", "fossil"]
STANDS = ["dormant", "germinated", "training", *BLENDED, "embargoed", "resetting"]
QUICK = {"min_prune_age": 0, "embargo_ticks": 2}
ALGORITHMS = [BlendStyle.LINEAR_ADD, BlendStyle.LINEAR_MULTIPLY, BlendStyle.GATED_GATE]
SITUATIONS = [
    pytest.param(name, stand, style, id=f"{name}-{stand}-{style.algorithm.value}")
    for name in ("signal", "vector", "text")
    for stand in STANDS
    for style in (ALGORITHMS if name == "signal" and stand in BLENDED else ALGORITHMS[2:])
]
every_situation = pytest.mark.parametrize(("name", "stand", "style"), SITUATIONS)


@pytest.fixture
def host(specs, make_host, bring, *, name, stand, style):
    return bring(make_host(specs[name], **QUICK), stand, style)


@pytest.fixture
def bring(grow, order, train):
    """Brings the second slot to where a test wants it."""

    def to(host, stand, style):
        stages = {
            "germinated": SeedStage.GERMINATED,
            "training": SeedStage.TRAINING,
            "blending": SeedStage.BLENDING,
            "fossil": SeedStage.FOSSILIZED,
            "dormant": None,
        }
        stage = stages.get(stand, SeedStage.HOLDING)
        if stage is not None:
            grow(host, "r0c1", stage, style=style)
        if stand == "pruning":
            order(host, "r0c1", Prune(ticks=8, curve=AlphaCurve.COSINE))
        if stand in ("embargoed", "resetting"):
            order(host, "r0c1", Prune())
        for _ in range({"embargoed": 2, "resetting": 3, "dormant": 0}.get(stand, 1)):
            train(host)
        host.take_events()
        return host

    return to


def saved_and_loaded(state):
    """Through a file, read as torch reads what it does not trust."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def same_tensors(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def own_weights(host):
    return {k: v for k, v in host.state_dict().items() if not k.startswith("seed_slots")}


@every_situation
def test_a_new_host_that_loads_a_state_dict_is_the_same(host, make_host, batch):
    twin = make_host(host.spec, seed=1, **QUICK)
    twin.load_state_dict(saved_and_loaded(host.state_dict()))
    assert twin.seed_reports() == host.seed_reports()
    assert twin.parameter_counts() == host.parameter_counts()
    assert same_tensors(twin.state_dict(), host.state_dict())
    inputs = batch(host.spec)[0]
    for training in (True, False):
        assert torch.equal(twin.train(training)(inputs), host.train(training)(inputs))
    trained = [[p.requires_grad for p in model.parameters()] for model in (twin, host)]
    assert trained[0] == trained[1]


@pytest.fixture
def onwards(train):
    """Lives on for some epochs: everything that is permitted, then a new seed."""

    def live(host):
        optimizer = torch.optim.SGD(host.parameters(), lr=0.05)
        for epoch in range(10):
            for command in (Advance(), Fossilize()):
                host.apply_command(SeedCommand(slot="r0c1", command=command))
            if epoch == 4:
                host.prune_live()
            for slot in host.slots:
                born = Germinate(blueprint=Blueprint.NORM, style=BlendStyle.GATED_GATE)
                host.apply_command(SeedCommand(slot=slot, command=born))
            host.sync_optimizer(optimizer)
            train(host, optimizer=optimizer)
        return host.seed_reports(), host.take_events()

    return live


@every_situation
def test_a_loaded_host_trains_on_as_if_never_interrupted(host, make_host, onwards):
    twin = make_host(host.spec, **QUICK)
    twin.load_state_dict(saved_and_loaded(host.state_dict()))
    assert onwards(twin) == onwards(host)
    assert same_tensors(twin.state_dict(), host.state_dict())


def test_the_next_seed_of_a_loaded_host_draws_the_same_weights(family, make_host, bring, grow):
    host, twin = make_host(family), make_host(family)
    bring(host, "training", BlendStyle.LINEAR_ADD)
    host.prune_live()
    twin.load_state_dict(host.state_dict())
    for model in (host, twin):
        for _ in range(7):
            model.tick()
        grow(model, "r0c1", SeedStage.GERMINATED)
    assert same_tensors(host.state_dict(), twin.state_dict())
    first = make_host(family)
    grow(first, "r0c1", SeedStage.GERMINATED)
    assert not same_tensors(
        first.slot("r0c1").seed.state_dict(), twin.slot("r0c1").seed.state_dict()
    )


def test_an_optimizer_resumes_with_its_model(family, style, make_host, grow, train):
    """Momentum and groups are found again through ``parameter_groups``."""
    host = make_host(family)
    grow(host, "r0c1", SeedStage.HOLDING, style=style)
    optimizer = torch.optim.SGD(parameter_groups(host, {"lr": 0.01}), lr=0.1, momentum=0.9)
    train(host, optimizer=optimizer)
    state = saved_and_loaded({"model": host.state_dict(), "optimizer": optimizer.state_dict()})

    twin = make_host(family)
    twin.load_state_dict(state["model"])
    resumed = torch.optim.SGD(parameter_groups(twin, {"lr": 0.01}), lr=0.1, momentum=0.9)
    resumed.load_state_dict(state["optimizer"])
    for model, its in ((host, optimizer), (twin, resumed)):
        sync_optimizer(its, model)
        assert [group.get("esper_slot") for group in its.param_groups] == [None, "r0c1"]
        train(model, optimizer=its)
    assert same_tensors(host.state_dict(), twin.state_dict())


@every_situation
def test_a_model_with_the_stored_seed_keeps_its_parameters(host, make_host, bring, style, stand):
    twin = bring(make_host(host.spec, **QUICK), stand, style)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    identities = [id(p) for p in twin.parameters()]
    revisions = [twin.slot(name).revision for name in twin.slots if twin.slot(name).occupied]
    twin.load_state_dict(host.state_dict())
    assert [id(p) for p in twin.parameters()] == identities
    assert revisions == [
        twin.slot(name).revision for name in twin.slots if twin.slot(name).occupied
    ]
    assert same_tensors(twin.state_dict(), host.state_dict())


@pytest.mark.parametrize("other", ["dormant", "training", "pruning", "embargoed"])
@pytest.mark.parametrize("stand", STANDS)
def test_a_model_with_another_seed_gets_the_stored_one(make_host, bring, batch, stand, other):
    host = bring(make_host(**QUICK), stand, BlendStyle.LINEAR_ADD)
    twin = bring(make_host(**QUICK), other, BlendStyle.GATED_GATE)
    twin.load_state_dict(host.state_dict())
    assert twin.seed_reports() == host.seed_reports()
    assert torch.equal(twin.eval()(batch()[0]), host.eval()(batch()[0]))


TOKENS = ActivationSpec.tokens(8)


@pytest.mark.parametrize("there", sorted(BLUEPRINTS[Topology.TRANSFORMER]))
@pytest.mark.parametrize("stored", sorted(BLUEPRINTS[Topology.TRANSFORMER]))
def test_a_slot_with_another_blueprint_gets_the_stored_one(stored, there):
    """Also where the two have the same tensors, as both kinds of attention do."""
    slot, twin = grown(TOKENS, stored), grown(TOKENS, there)
    nn.init.ones_(slot.seed.scale)
    twin.load_state_dict(slot.state_dict())
    hidden = torch.randn(2, 5, 8)
    assert torch.equal(twin.seed(hidden), slot.seed(hidden))


@pytest.mark.parametrize("stand", ["dormant", "embargoed", "resetting"])
def test_empty_slots_load_a_state_dict_without_slots_strictly(family, make_host, bring, stand):
    plain = make_host(family, seed=8)
    host = bring(make_host(family, **QUICK), stand, BlendStyle.LINEAR_ADD)
    before = host.seed_reports()
    host.load_state_dict(own_weights(plain))
    assert same_tensors(own_weights(host), own_weights(plain))
    assert host.seed_reports() == before


def test_a_slot_with_a_seed_does_not_load_a_state_dict_without_slots_strictly(
    family, make_host, bring
):
    host = bring(make_host(family), "training", BlendStyle.LINEAR_ADD)
    with pytest.raises(RuntimeError, match=r"Missing key.*seed_slots\.r0c1"):
        host.load_state_dict(own_weights(make_host(family)))


class Plain(nn.Module):
    """A user's model, with a slot that takes its shape from its first input."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(3, 6)
        self.slot = SeedSlot("r0c0")
        self.head = nn.Linear(6, 2)

    def forward(self, inputs):
        return self.head(self.slot(self.stem(inputs)))


@pytest.mark.parametrize("style", list(BlendStyle))
def test_a_slot_in_the_models_own_code_loads_its_seed(style):
    model, twin = Plain(), Plain()
    inputs = torch.randn(5, 3)
    model(inputs)
    assert model.slot.apply_command(Germinate(blueprint=Blueprint.LORA, style=style)).accepted
    assert model.slot.apply_command(Advance()).accepted
    model(inputs).sum().backward()
    model.slot.record_gradients()
    model.slot.tick()
    assert model.slot.apply_command(Advance()).accepted
    model.slot.tick()
    nn.init.ones_(model.slot.seed.scale)
    twin.load_state_dict(saved_and_loaded(model.state_dict()))
    assert twin.slot.activations == ActivationSpec.features(6)
    assert twin.slot.report() == model.slot.report()
    assert twin.slot.take_events() == model.slot.take_events() != ()
    assert torch.equal(twin(inputs), model(inputs))
    assert not torch.equal(twin(inputs), twin.head(twin.stem(inputs)))


def test_measurements_of_nan_and_infinity_are_saved():
    slot = grown(ActivationSpec.features(4))
    for parameter in slot.seed.parameters():
        parameter.grad = torch.full_like(parameter, math.nan)
    slot.record_gradients()
    measured = SeedMeasurement(slot="r0c0", contribution=math.inf, interaction_sum=-math.inf)
    slot.record_validation(math.nan, measured)
    twin = SeedSlot("r0c0")
    twin.load_state_dict(saved_and_loaded(slot.state_dict()))
    report = twin.report()
    # NaN is unlike itself, so the words are compared.
    assert repr(report) == repr(slot.report())
    assert repr(twin.take_events()) == repr(slot.take_events())
    assert math.isnan(report.gradient_norm)
    assert math.isnan(report.stage_improvement)
    assert (report.contribution, report.interaction_sum) == (math.inf, -math.inf)
    assert report.gradient_exploding


def grown(activations, blueprint=Blueprint.NORM) -> SeedSlot:
    slot = SeedSlot("r0c0", activations)
    assert slot.apply_command(Germinate(blueprint=blueprint)).accepted
    assert slot.apply_command(Advance()).accepted
    return slot


def test_the_number_of_unread_events_of_a_loaded_slot_is_limited():
    slot, twin = grown(ActivationSpec.features(4)), SeedSlot("r0c0")
    twin.load_state_dict(slot.state_dict())
    for either in (slot, twin):
        for _ in range(250):  # lives of five events each
            either.prune_now()
            for _ in range(7):
                either.tick()
            assert either.apply_command(Germinate(blueprint=Blueprint.NORM)).accepted
    events = slot.take_events()
    assert twin.take_events() == events
    assert len(events) == MAX_UNREAD_EVENTS
