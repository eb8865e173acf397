"""Harvests exported by torch.export and to ONNX compute the same outputs."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from esper_kasmina import build_host, graft, harvest
from esper_leyline import (
    BlendStyle,
    Blueprint,
    CNNHostSpec,
    HostOptions,
    SeedStage,
    TransformerHostSpec,
)

from .lifecycle_helpers import raise_seed
from .sample_models import SAMPLE_MODELS, tiered

pytestmark = pytest.mark.slow
STYLES = (BlendStyle.LINEAR_ADD, BlendStyle.LINEAR_MULTIPLY, BlendStyle.GATED_GATE)
HOSTS = {
    "signal": (
        CNNHostSpec(input_shape=(1, 16), classes=3, widths=(8, 8, 8), pools=(True, False, False)),
        (Blueprint.CONV_LIGHT, Blueprint.ATTENTION, Blueprint.NORM),
    ),
    "gpt": (
        TransformerHostSpec(vocabulary=11, width=8, heads=2, layers=6, block=12),
        (Blueprint.FLEX_ATTENTION, Blueprint.ATTENTION, Blueprint.LORA),
    ),
}


def harvested(name):
    """Returns a harvest with three fossilized seeds, one of each algorithm, and an input for it."""
    if name in SAMPLE_MODELS:
        inputs = SAMPLE_MODELS[name].inputs()
        host = graft(SAMPLE_MODELS[name].make(), SAMPLE_MODELS[name].sites, example_inputs=inputs)
        blueprints = (SAMPLE_MODELS[name].blueprint,) * 3
    else:
        spec, blueprints = HOSTS[name]
        host = build_host(spec, HostOptions(slots=spec.slots, rng_seed=1))
        tokens = torch.randint(11, (4, 9), generator=torch.Generator().manual_seed(0))
        inputs = tokens if name == "gpt" else torch.randn(4, *spec.input_shape)
    for slot, blueprint, style in zip(host.slots, blueprints, STYLES, strict=True):
        raise_seed(host, slot, SeedStage.FOSSILIZED, blueprint, inputs, style=style)
    host.eval()
    return harvest(host), inputs, host(inputs).detach()


@pytest.mark.parametrize("name", tiered(*HOSTS))
def test_exported_harvests_have_the_same_outputs(name, tmp_path, capfd):
    plain, inputs, outputs = harvested(name)
    axis = SAMPLE_MODELS[name].batch_axis if name in SAMPLE_MODELS else 0
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(plain, (inputs,), dynamic_shapes=({axis: batch},))
    torch.testing.assert_close(program.module()(inputs), outputs, rtol=1e-4, atol=1e-5)
    other = inputs.narrow(axis, 0, 3)
    torch.testing.assert_close(program.module()(other), plain(other), rtol=1e-4, atol=1e-5)

    path = tmp_path / "plain.onnx"
    torch.onnx.export(plain, (inputs,), dynamo=True, verbose=False).save(str(path))
    capfd.readouterr()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})[0]
    np.testing.assert_allclose(found, outputs.numpy(), rtol=1e-3, atol=1e-4)
