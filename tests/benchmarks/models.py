"""Grows one seed in models of torchvision, timm and transformers, and prints a table.

Every model has random weights. A seed is raised to HOLDING in each, fossilized and
harvested; the harvest has to give the grown model's outputs. ``--write`` puts the table
into Kasmina's README.

    uv run python tests/benchmarks/models.py
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from esper_kasmina import ActivationSpec, KasminaError, SlotSite, graft, harvest
from esper_leyline import Advance, Blueprint, Fossilize, Germinate, SeedCommand, SeedMeasurement
from esper_leyline.commands import SlotCommand

README = Path(__file__).parents[2] / "packages" / "esper-kasmina" / "README.md"
BEGIN, END = "<!-- models: begin -->\n", "<!-- models: end -->"


def images(side: int = 64) -> Tensor:
    """Returns two random images."""
    return torch.randn(2, 3, side, side)


def clips() -> Tensor:
    """Returns two random videos of eight frames."""
    return torch.randn(2, 3, 8, 32, 32)


def text() -> Tensor:
    """Returns two random sequences of tokens."""
    return torch.randint(1, 48, (2, 12))


@dataclass(frozen=True, slots=True)
class Case:
    """A model, a place in it, and what grows there.

    Attributes:
        library: The package that the model comes from.
        name: The model, as the package calls it.
        place: The place in it.
        blueprint: What grows there.
        inputs: Makes a batch.
        options: Of the model's configuration.
        read: The output that is compared, where the model returns several.
        part: The submodule that is run by itself, where the whole model needs targets.
    """

    library: str
    name: str
    place: str | SlotSite
    blueprint: Blueprint
    inputs: Callable[[], Tensor] = images
    options: dict[str, Any] = field(default_factory=dict)
    read: str | None = None
    part: str | None = None


def _text_sizes(**more: Any) -> dict[str, Any]:
    return {"vocab_size": 50, **more}


_WIDE = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_CAUSAL = ActivationSpec.tokens(64, causal=True)
_GPT2 = _text_sizes(n_embd=64, n_layer=2, n_head=4, n_positions=32)
_LLAMA = _text_sizes(**_WIDE, intermediate_size=128)

CASES = (
    Case("torchvision", "resnet18", "layer2", Blueprint.CONV_LIGHT),
    Case("torchvision", "densenet121", "features.denseblock2", Blueprint.DEPTHWISE),
    Case("torchvision", "mobilenet_v3_small", "features.4", Blueprint.DEPTHWISE),
    Case("torchvision", "efficientnet_b0", "features.3", Blueprint.ATTENTION),
    Case("torchvision", "regnet_y_400mf", "trunk_output.block2", Blueprint.BOTTLENECK),
    Case("torchvision", "convnext_tiny", "features.3", Blueprint.DEPTHWISE),
    Case("torchvision", "convnext_tiny", "features.1.0.block.5", Blueprint.CONV_SMALL),
    Case("torchvision", "swin_t", "features.3", Blueprint.DEPTHWISE),
    Case("torchvision", "vit_b_16", "encoder.layers.encoder_layer_2", Blueprint.LORA,
         lambda: images(224)),
    Case("torchvision", "vit_b_16",
         SlotSite("encoder.layers.encoder_layer_2.self_attention", output=0), Blueprint.LORA,
         lambda: images(224)),
    Case("torchvision", "fcn_resnet50", SlotSite("backbone", output="out"), Blueprint.BOTTLENECK,
         read="out"),
    Case("torchvision", "fasterrcnn_resnet50_fpn", SlotSite("body", output="1"),
         Blueprint.DEPTHWISE, read="0", part="backbone"),
    Case("torchvision", "r3d_18", "layer2", Blueprint.CONV_LIGHT, clips),
    Case("torchvision", "mc3_18", "layer1", Blueprint.DEPTHWISE, clips),
    Case("timm", "resnet18", "layer3", Blueprint.CONV_LIGHT),
    Case("timm", "convnext_atto", "stages.1", Blueprint.DEPTHWISE),
    Case("timm", "swin_tiny_patch4_window7_224", "layers.1", Blueprint.DEPTHWISE,
         lambda: images(224)),
    Case("timm", "vit_tiny_patch16_224", "blocks.3", Blueprint.ATTENTION, lambda: images(224)),
    Case("timm", "mixer_s32_224", "blocks.2", Blueprint.MLP_SMALL, lambda: images(224)),
    Case("transformers", "GPT2LMHeadModel", SlotSite("transformer.h.0", _CAUSAL),
         Blueprint.ATTENTION, text, _GPT2, "logits"),
    Case("transformers", "GPT2LMHeadModel", SlotSite("transformer.h.0.attn", _CAUSAL, output=0),
         Blueprint.LORA, text, _GPT2, "logits"),
    Case("transformers", "BertModel", "encoder.layer.0", Blueprint.ATTENTION, text,
         _text_sizes(**_WIDE, intermediate_size=128), "last_hidden_state"),
    Case("transformers", "BertModel", SlotSite("encoder", output="last_hidden_state"),
         Blueprint.MLP, text, _text_sizes(**_WIDE, intermediate_size=128), "last_hidden_state"),
    Case("transformers", "LlamaForCausalLM", SlotSite("model.layers.0", _CAUSAL),
         Blueprint.MLP_SMALL, text, _LLAMA, "logits"),
    Case("transformers", "LlamaForCausalLM",
         SlotSite("model.layers.0.self_attn", _CAUSAL, output=0), Blueprint.LORA,
         text, _LLAMA, "logits"),
    Case("transformers", "Qwen2ForCausalLM", SlotSite("model.layers.0", _CAUSAL),
         Blueprint.ATTENTION, text, {**_LLAMA, "num_key_value_heads": 2}, "logits"),
)  # fmt: skip


class Reading(nn.Module):
    """Returns the tensor of a model that returns several."""

    def __init__(self, model: nn.Module, read: str) -> None:
        super().__init__()
        self.model = model
        self.read = read

    def forward(self, inputs: Tensor) -> Tensor:
        """Takes one batch."""
        outputs = self.model(inputs)
        tensor: Tensor = outputs[self.read]
        return tensor


def build(case: Case) -> nn.Module:
    """Builds the model with random weights."""
    torch.manual_seed(0)
    if case.library == "torchvision":
        from torchvision import models

        backbone = {} if case.read is None else {"weights_backbone": None}
        model = models.get_model(case.name, weights=None, **backbone)
        model = model if case.part is None else model.get_submodule(case.part)
        return model if case.read is None else Reading(model, case.read)
    if case.library == "timm":
        import timm

        return timm.create_model(case.name, pretrained=False)
    import transformers

    kind = getattr(transformers, case.name)
    assert case.read is not None
    return Reading(kind(kind.config_class(**case.options)), case.read)


@torch.no_grad()
def wake(model: nn.Module) -> nn.Module:
    """Replaces weights that are born zero or nearly so, which hide everything before them."""
    for parameter in model.parameters():
        if parameter.dim() > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
        elif 0 < parameter.abs().max() < 1e-4:
            nn.init.constant_(parameter, 0.1)  # the layer scales of ConvNeXt
    return model


def run(case: Case) -> str:
    """Grows and harvests one seed; returns the row of the table."""
    model, inputs = wake(build(case)), case.inputs()
    place = case.place if isinstance(case.place, SlotSite) else SlotSite(case.place)
    path = f"model.{place.module}" if case.read else place.module
    grafted = graft(
        model,
        {"r0c0": SlotSite(path, place.activations, output=place.output)},
        example_inputs=inputs,
    )
    target = torch.randn_like(grafted(inputs))

    def give(command: SlotCommand) -> None:
        result = grafted.apply_command(SeedCommand(slot="r0c0", command=command))
        if not result.accepted:
            raise KasminaError(result.reason or "refused")

    def epoch() -> None:
        grafted.train().zero_grad()
        (grafted(inputs) - target).square().mean().backward()
        grafted.record_gradients()
        grafted.record_validation(50.0, [SeedMeasurement(slot="r0c0", contribution=1.0)])
        grafted.tick()

    give(Germinate(blueprint=case.blueprint, tempo=0))
    nn.init.constant_(grafted.slot("r0c0").seed.scale, 0.3)
    give(Advance())
    epoch()
    give(Advance())
    epoch()
    give(Advance())
    epoch()
    give(Fossilize())
    with torch.no_grad():
        grown = grafted.eval()(inputs)
        difference = float((harvest(grafted)(inputs) - grown).abs().max())
    shown = place.module if case.part is None else f"{case.part}.{place.module}"
    shown += "" if place.output is None else f", output={place.output!r}"
    kind = grafted.slot("r0c0").activations
    return (
        f"| {case.library} | `{case.name}` | `{shown}` | `{kind}` | `{case.blueprint}` "
        f"| {difference:.1g} |"
    )


def table() -> str:
    """Returns the whole table."""
    lines = [
        "| Library | Model | Submodule | Activations | Seed | Harvest off by |",
        "|---|---|---|---|---|---|",
    ]
    for case in CASES:
        try:
            lines.append(run(case))
        except (KasminaError, RuntimeError, ValueError) as error:
            lines.append(f"| {case.library} | `{case.name}` | `{case.place}` | | | {error} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Prints the table, and writes it into the README where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into the README")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    made = table()
    if options.write:
        before, rest = README.read_text(encoding="utf-8").split(BEGIN)
        after = rest.split(END)[1]
        README.write_text(f"{before}{BEGIN}{made}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
