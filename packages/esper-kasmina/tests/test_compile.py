"""Compiled models compute the numbers of eager ones, and are not compiled again in a ramp."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from esper_kasmina import ActivationSpec, SeedSlot
from esper_leyline import (
    Advance,
    BlendStyle,
    Blueprint,
    Fossilize,
    Germinate,
    LifecycleRules,
    Prune,
    SeedMeasurement,
    SeedStage,
    SetAlphaTarget,
)
from esper_leyline.commands import SlotCommand

pytestmark = pytest.mark.slow

ENDS = {"fossil": Fossilize(), "prune": Prune(ticks=3)}


class Plain(nn.Module):
    """A user's model, with a slot in it."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        rules = LifecycleRules(min_prune_age=0, embargo_ticks=1)
        self.slot = SeedSlot("r0c0", ActivationSpec.maps(6), rules=rules)
        self.head = nn.Linear(6, 4)

    def forward(self, images):
        return self.head(self.slot(self.stem(images)).mean(dim=(2, 3)))


@dataclass
class Subject:
    """A model, its slot, and inputs."""

    model: nn.Module
    slot: SeedSlot
    inputs: torch.Tensor
    blueprint: Blueprint


@pytest.fixture(params=["plain", "signal", "vector", "text"])
def subject(request, specs, make_host, batch) -> Subject:
    torch.manual_seed(0)
    torch._dynamo.reset()
    if request.param == "plain":
        model = Plain()
        return Subject(model, model.slot, torch.randn(4, 3, 8, 8), Blueprint.DEPTHWISE)
    spec = specs[request.param]
    blueprint = {
        "vector": Blueprint.MLP_SMALL,
        "text": Blueprint.FLEX_ATTENTION,
    }.get(request.param, Blueprint.CONV_LIGHT)
    host = make_host(spec, min_prune_age=0, embargo_ticks=1)
    return Subject(host, host.slot("r0c1"), batch(spec, 4)[0], blueprint)


def order(slot: SeedSlot, command: SlotCommand) -> None:
    result = slot.apply_command(command)
    assert result.accepted, result.reason


def stages(subject: Subject, style: BlendStyle, end: SlotCommand) -> Iterator[SeedStage]:
    """Leads a seed through its life; the caller trains the model at each yield."""
    slot = subject.slot

    def epochs(count: int) -> Iterator[SeedStage]:
        for _ in range(count):
            yield slot.stage
            slot.record_gradients()
            measured = SeedMeasurement(slot=slot.name, contribution=1.0) if slot.occupied else None
            slot.record_validation(50.0, measured)
            slot.tick()

    def retarget(target: float) -> SetAlphaTarget:
        return SetAlphaTarget(style=style, alpha_target=target, ticks=3)

    chapters = [
        (Germinate(blueprint=subject.blueprint, style=style), 1),
        (Advance(), 2),
        (Advance(), 4),
        (Advance(), 1),
        (retarget(0.5), 4),
        (retarget(1.0), 4),
        (Advance(), 1),
        (end, 6),
    ]
    yield from epochs(1)
    for command, count in chapters:
        order(slot, command)
        yield from epochs(count)


def train(model: nn.Module, subject: Subject) -> list[torch.Tensor]:
    """One pass: the output and every gradient."""
    subject.model.zero_grad()
    output = model(subject.inputs)
    output.square().mean().backward()
    gradients = [p.grad for p in subject.model.parameters() if p.grad is not None]
    return [output.detach(), *(gradient.clone() for gradient in gradients)]


def assert_as_eager(compiled: nn.Module, subject: Subject) -> None:
    for mode in (True, False):
        subject.model.train(mode)
        twin = copy.deepcopy(subject)
        expected = train(twin.model, twin)
        found = train(compiled, subject)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_steps_and_ticks_compile_nothing(subject, style, end):
    """Only a germination, the end of isolation and a freeze compile again."""
    counter = CompileCounter()
    compiled = torch.compile(subject.model, backend=counter)
    compilings = []
    for stage in stages(subject, style, end):
        before = counter.frame_count
        train(compiled, subject)
        compilings += [stage] * (counter.frame_count - before)
        settled = counter.frame_count
        for _ in range(2):
            train(compiled, subject)
        assert counter.frame_count == settled
    expected = [SeedStage.DORMANT, SeedStage.TRAINING, SeedStage.BLENDING]
    if isinstance(end, Prune):
        expected.append(SeedStage.HOLDING)  # frozen, while it ramps down
    assert compilings == expected


def test_three_seeds_of_the_same_kind_compile_four_times_in_all(subject, style):
    counter = CompileCounter()
    compiled = torch.compile(subject.model, backend=counter)
    compiled_after = []
    for _ in range(3):
        for _ in stages(subject, style, Prune(ticks=3)):
            train(compiled, subject)
        assert subject.slot.stage is SeedStage.DORMANT
        compiled_after.append(counter.frame_count)
    assert compiled_after == [4, 4, 4]


LIVES = [
    (BlendStyle.LINEAR_ADD, Fossilize()),
    (BlendStyle.LINEAR_MULTIPLY, Prune(ticks=3)),
    (BlendStyle.GATED_GATE, Fossilize()),
]


@pytest.mark.parametrize(("style", "end"), LIVES, ids=["add", "multiply", "gate"])
def test_a_compiled_model_computes_the_same_in_every_stage(subject, style, end):
    compiled = torch.compile(subject.model, backend="aot_eager")
    for _ in stages(subject, style, end):
        assert_as_eager(compiled, subject)


# Dynamo looks whether what it is given has a gradient, and is warned by torch.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_slot_can_be_compiled_alone(style):
    torch._dynamo.reset()
    model = Plain()
    model.slot.compile(backend="aot_eager")
    subject = Subject(model, model.slot, torch.randn(4, 3, 8, 8), Blueprint.BOTTLENECK)
    for _ in stages(subject, style, Prune(ticks=3)):
        assert_as_eager(model, subject)


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.filterwarnings("default")  # the compiler's own
@pytest.mark.parametrize(
    ("subject", "stage"),
    [
        ("vector", SeedStage.TRAINING),
        ("plain", SeedStage.BLENDING),
        ("signal", SeedStage.BLENDING),
        ("text", SeedStage.BLENDING),
    ],
    indirect=["subject"],
)
def test_the_default_compiler_computes_the_same(subject, stage):
    compiled = torch.compile(subject.model)
    for now in stages(subject, BlendStyle.GATED_GATE, Fossilize()):
        if now is stage and (stage is SeedStage.TRAINING or subject.slot.alpha > 0):
            subject.model.train()
            twin = copy.deepcopy(subject)
            expected = train(twin.model, twin)
            for one, other in zip(train(compiled, subject), expected, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
            return
        train(subject.model, subject)
    pytest.fail(f"the seed never stood in {stage.name}")
