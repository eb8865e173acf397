"""Forward-mode AD, ``torch.func``, and ticks before the backward pass, in every stage."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from esper_kasmina import BLUEPRINTS, ActivationSpec, SlotSite, graft, harvest
from esper_leyline import (
    Advance,
    AlphaCurve,
    BlendStyle,
    Blueprint,
    LifecycleRules,
    Prune,
    SeedStage,
    SetAlphaTarget,
    Topology,
)

from .lifecycle_helpers import give, raise_seed

STAGES = (
    SeedStage.GERMINATED,
    SeedStage.TRAINING,
    SeedStage.BLENDING,
    SeedStage.HOLDING,
    SeedStage.FOSSILIZED,
)
STYLES = (BlendStyle.LINEAR_ADD, BlendStyle.LINEAR_MULTIPLY, BlendStyle.GATED_GATE)
CASES = [
    *((stage, Blueprint.DEPTHWISE, style) for stage in STAGES for style in STYLES),
    *(
        (SeedStage.TRAINING, blueprint, STYLES[0])
        for blueprint in sorted(BLUEPRINTS[Topology.CNN])
        if blueprint != Blueprint.DEPTHWISE
    ),
]
IMAGES = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _torchs_own_warning():
    """Torch compiles derivatives of its own with ``torch.jit.script``, which it deprecates."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script", FutureWarning)
        warnings.filterwarnings("ignore", "`torch.jit.script", DeprecationWarning)
        yield


def grown(stage, blueprint=Blueprint.DEPTHWISE, style=STYLES[0], **germinate):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 3))
    rules = LifecycleRules(min_prune_age=0)
    grafted = graft(model, {"r0c0": "0"}, example_inputs=IMAGES, rules=rules)
    raise_seed(grafted, "r0c0", stage, blueprint, IMAGES, style=style, **germinate)
    return grafted


def named(case):
    return getattr(case, "name", str(case)).lower()


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(("stage", "blueprint", "style"), CASES, ids=named)
def test_derivatives_by_torch_func_equal_those_of_the_backward_pass(
    stage, blueprint, style, training
):
    model = grown(stage, blueprint, style).train(training)
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    direction = torch.ones_like(IMAGES)

    def loss(values, images):
        return torch.func.functional_call(model, values, (images,)).square().mean()

    gradients = torch.func.grad(loss)(parameters, IMAGES)
    model.zero_grad()
    model(IMAGES).square().mean().backward()
    for name, parameter in model.named_parameters():
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(gradients[name], expected, msg=name)

    _, expected = torch.autograd.functional.jvp(model, IMAGES, direction)
    _, tangent = torch.func.jvp(model, (IMAGES,), (direction,))
    torch.testing.assert_close(tangent, expected)
    with forward_ad.dual_level():
        dual = model(forward_ad.make_dual(IMAGES, direction))
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, expected)
    # The tangent of the seed's own parameters is what its gradient says.
    scale = {k: torch.full_like(v, float(k.endswith("seed.scale"))) for k, v in parameters.items()}
    _, along = torch.func.jvp(lambda values: loss(values, IMAGES), (parameters,), (scale,))
    expected = sum((gradients[name] * scale[name]).sum() for name in gradients)
    torch.testing.assert_close(along, expected)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("stage", STAGES, ids=named)
def test_second_derivatives_by_torch_func_equal_those_of_autograd(stage, training):
    model = grown(stage).train(training)
    images = IMAGES[:2]

    def loss(values):
        return model(values).square().mean()

    expected = torch.autograd.functional.hessian(loss, images)
    torch.testing.assert_close(torch.func.hessian(loss)(images), expected)


@pytest.mark.parametrize("style", STYLES, ids=named)
@pytest.mark.parametrize("stage", STAGES, ids=named)
def test_gradients_of_each_sample_in_evaluation_mode(stage, style):
    model = grown(stage, style=style).eval()
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(values, image):
        return torch.func.functional_call(model, values, (image[None],)).square().mean()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, IMAGES)
    whole = torch.func.grad(
        lambda values: torch.func.functional_call(model, values, (IMAGES,)).square().mean()
    )(parameters)
    for name, gradient in whole.items():
        torch.testing.assert_close(each[name].mean(0), gradient)


@pytest.mark.parametrize("stage", STAGES, ids=named)
@pytest.mark.parametrize("blueprint", sorted(BLUEPRINTS[Topology.TRANSFORMER]), ids=named)
def test_seeds_over_tokens_have_forward_derivatives_in_training_mode(blueprint, stage):
    torch.manual_seed(0)
    tokens = torch.randn(2, 3, 8)
    place = SlotSite("0", ActivationSpec.tokens(8, causal=True))
    model = graft(nn.Sequential(nn.Linear(8, 8), nn.Tanh()), {"r0c0": place})
    model(tokens)
    raise_seed(model, "r0c0", stage, blueprint, tokens)
    model.train()
    with sdpa_kernel(SDPBackend.MATH):  # the only one that is differentiable twice
        _, expected = torch.autograd.functional.jvp(model, tokens, torch.ones_like(tokens))
    _, tangent = torch.func.jvp(model, (tokens,), (torch.ones_like(tokens),))
    torch.testing.assert_close(tangent, expected)


@pytest.mark.parametrize("style", STYLES, ids=named)
@pytest.mark.parametrize("ramp", ["up", "partway", "down"])
def test_a_tick_between_the_passes_changes_no_gradient(style, ramp):
    """The strength of a pass is that of its time, whatever the slot does later."""
    gradients = []
    for ticks in (0, 1, 3):
        model = grown(
            SeedStage.HOLDING if ramp != "up" else SeedStage.BLENDING, style=style, tempo=5
        )
        if ramp == "partway":
            give(model, "r0c0", SetAlphaTarget(style=style, alpha_target=0.5, ticks=6))
        if ramp == "down":
            give(model, "r0c0", Prune(ticks=8, curve=AlphaCurve.LINEAR))
        model.train()
        for _ in range(2):
            model.tick()
        before = model.slot("r0c0").alpha
        model.zero_grad()
        loss = model(IMAGES).square().sum()
        for _ in range(ticks):
            model.tick()
        loss.backward()
        assert (model.slot("r0c0").alpha == before) == (ticks == 0)
        gradients.append([p.grad for p in model.parameters()])
    for later in gradients[1:]:
        for first, second in zip(gradients[0], later, strict=True):
            assert (first is None and second is None) or torch.equal(first, second)


@pytest.mark.parametrize("stage", STAGES, ids=named)
def test_commands_and_prunes_between_the_passes_are_no_error(stage):
    model = grown(stage).train()
    loss = model(IMAGES).square().sum()
    model.slot("r0c0").apply_command(Advance())
    model.prune_live()
    loss.backward()
    assert all(p.grad is not None for p in model.model.parameters())


def test_a_harvest_has_torchs_own_norms():
    model = grown(SeedStage.FOSSILIZED).eval()
    plain = harvest(model)
    kinds = {type(module) for module in plain.modules() if "Norm" in type(module).__name__}
    assert kinds == {nn.BatchNorm2d}
    assert any(name.endswith("num_batches_tracked") for name in plain.state_dict())
