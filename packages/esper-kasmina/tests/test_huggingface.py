"""Real transformers with random weights: grown, harvested, and used for generation."""

from __future__ import annotations

import pytest
import torch

from esper_kasmina import ActivationSpec, KasminaError, SlotSite, graft, harvest
from esper_leyline import Blueprint, Fossilize, SeedMeasurement, SeedStage

from .lifecycle_helpers import give, raise_seed

pytestmark = [
    pytest.mark.slow,  # importing transformers takes seconds
    pytest.mark.filterwarnings("ignore"),  # another library's own deprecations
]


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 32}
    ends = {"bos_token_id": 0, "eos_token_id": 49, "pad_token_id": 49}
    drops = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2LMHeadModel(GPT2Config(**sizes, **ends, **drops)).eval()


def bert():
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "intermediate_size": 64}
    drops = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertModel(BertConfig(**sizes, **heads, **drops)).eval()


class Logits(torch.nn.Module):
    """Returns the tensor that the tests' loss and the comparison read."""

    def __init__(self, model, field):
        super().__init__()
        self.model = model
        self.field = field

    def forward(self, tokens):
        hidden = getattr(self.model(tokens), self.field)
        # After a norm the mean square that the tests train on is the same for any weights.
        return hidden * torch.linspace(-1.0, 1.0, hidden.shape[-1])


CAUSAL = ActivationSpec.tokens(32, causal=True)
CASES = {
    "gpt2 block": (gpt2, "logits", "transformer.h.0", CAUSAL, None),
    "gpt2 attention": (gpt2, "logits", "transformer.h.1.attn", CAUSAL, 0),
    "gpt2 body": (gpt2, "logits", "transformer", CAUSAL, "last_hidden_state"),
    "bert layer": (bert, "last_hidden_state", "encoder.layer.0", None, None),
    "bert attention": (bert, "last_hidden_state", "encoder.layer.1.attention", None, 0),
    "bert encoder": (bert, "last_hidden_state", "encoder", None, "last_hidden_state"),
}


@pytest.mark.parametrize(("make", "field", "path", "kind", "key"), CASES.values(), ids=CASES)
def test_a_seed_grows_is_harvested_and_generates(make, field, path, kind, key):
    tokens = torch.randint(1, 48, (2, 6), generator=torch.Generator().manual_seed(1))
    model = Logits(make(), field).eval()
    before = model(tokens)
    site = SlotSite(f"model.{path}", kind, output=key)
    grafted = graft(model, {"r0c0": site}, example_inputs=tokens)
    assert torch.equal(grafted(tokens), before)
    raise_seed(grafted, "r0c0", SeedStage.HOLDING, Blueprint.MLP_SMALL, tokens)
    grafted.record_validation(50.0, [SeedMeasurement(slot="r0c0", contribution=1.0)])
    give(grafted, "r0c0", Fossilize())
    grown = grafted.eval()(tokens)
    assert not torch.allclose(grown, before)
    plain = harvest(grafted)
    assert torch.equal(plain(tokens), grown)
    if make is gpt2:
        options = {"max_new_tokens": 5, "do_sample": False}
        while_grafted = grafted.model.model.generate(tokens, **options)
        generated = plain.model.generate(tokens, **options)
        assert torch.equal(generated, while_grafted)
        assert generated.shape == (2, 11)


def test_an_output_of_several_elements_is_refused_with_how_to_name_one():
    tokens = torch.randint(1, 48, (2, 6))
    for path, hint in (("transformer.h.0.attn", "output=0"), ("transformer", "last_hidden_state")):
        with pytest.raises(KasminaError, match=f"a slot takes one tensor, .*{hint}"):
            graft(gpt2(), {"r0c0": path}, example_inputs=tokens)
