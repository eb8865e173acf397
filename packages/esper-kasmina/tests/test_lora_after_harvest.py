"""LoRA of ``peft``, added to the layer of GPT-2 after which a harvested seed runs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from esper_kasmina import ActivationSpec, SlotSite, graft, harvest
from esper_leyline import Blueprint, SeedStage

from .lifecycle_helpers import raise_seed
from .test_huggingface import Logits, gpt2

pytestmark = [
    pytest.mark.slow,  # importing transformers takes seconds
    pytest.mark.filterwarnings("ignore"),  # another library's own deprecations
]

TOKENS = torch.randint(0, 50, (2, 8), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("layer", "width"),
    [("transformer.h.0.mlp.c_fc", 128), ("transformer.h.1.attn.c_attn", 96)],
    ids=["mlp", "attention"],
)
def test_trained_lora_can_be_merged_into_a_layer_with_a_seed(layer: str, width: int) -> None:
    from peft import LoraConfig, get_peft_model

    site = SlotSite(f"model.{layer}", activations=ActivationSpec.tokens(width))
    grafted = graft(Logits(gpt2(), "logits"), {"r0c0": site}, example_inputs=TOKENS)
    raise_seed(grafted, "r0c0", SeedStage.FOSSILIZED, Blueprint.LORA, TOKENS)
    plain = harvest(grafted.eval())
    before = plain(TOKENS)
    adapted = get_peft_model(plain, LoraConfig(target_modules=[f"model.{layer}"], r=4)).eval()
    torch.testing.assert_close(adapted(TOKENS), before)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.3)
    trained = adapted(TOKENS)
    assert (trained - before).abs().max() > 0.01
    merged = adapted.merge_and_unload()
    torch.testing.assert_close(merged(TOKENS), trained, atol=1e-5, rtol=1e-5)
