from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import ResNet

from esper_kasmina import BLUEPRINTS, Activations, Seed, build_host, seed_slots
from esper_leyline import HOST_SPECS, Blueprint, LifecycleRules, Topology

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
TEN_LINES = EXAMPLES[1]


def test_the_examples_run_in_their_order(capsys):
    namespace = {"__name__": "readme"}
    for number, example in enumerate(EXAMPLES):
        exec(compile(example, f"README.md, example {number}", "exec"), namespace)
        if example is TEN_LINES:
            assert re.match(r"True contributes [+-]\d", capsys.readouterr().out)
            plain, grown = namespace["plain"], namespace["model"]
            assert isinstance(plain, ResNet)
            assert not seed_slots(plain)
            images = namespace["images"]
            torch.testing.assert_close(plain.eval()(images), grown.eval()(images))
    assert re.match(r"593 parameters grown, accuracy \d+ %", capsys.readouterr().out)


def test_the_block_on_resuming_runs_alone():
    (block,) = [example for example in EXAMPLES if "optimizer.load_state_dict" in example]
    exec(compile(block, "README.md, resuming", "exec"), {"__name__": "readme"})


def test_ten_lines_are_ten():
    assert len([line for line in TEN_LINES.splitlines() if line.strip()]) == 10
    assert TEN_LINES.startswith("import torch\n")


@pytest.mark.parametrize(
    ("topology", "heading", "activations", "shape"),
    [
        (Topology.CNN, "For maps of C", Activations.maps(64), (1, 64, 16, 16)),
        (Topology.TRANSFORMER, "For tokens of width D", Activations.tokens(384), (1, 256, 384)),
    ],
)
def test_the_costs_of_blueprints_are_so(topology, heading, activations, shape):
    table = README.split(heading)[1].split("\n\n")[1]
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\d,]+) \| ([\d.]+) \|", table, re.MULTILINE)
    assert {name for name, *_ in rows} == {each.name for each in BLUEPRINTS[topology]}
    for name, parameters, flops in rows:
        seed = Seed(Blueprint[name], activations)
        with FlopCounterMode(display=False) as counter:
            seed.branch(torch.zeros(shape))
        assert f"{seed.size:,}" == parameters, name
        assert f"{counter.get_total_flops() / 1e6:.2f}" == flops, name


def test_the_named_hosts_are_so():
    rows = dict(re.findall(r"^\| `(\w+)` \| \w.*\| ([\d,]+) \|$", README, re.MULTILINE))
    for name, count in rows.items():
        if name not in HOST_SPECS:
            continue
        spec = HOST_SPECS[name]
        host = build_host(spec, slots=spec.slots, rules=LifecycleRules(), max_seeds=None, seed=1)
        assert f"{host.parameter_counts().host:,}" == count, name
    assert set(rows) & set(HOST_SPECS) >= {"cifar10", "tinystories", "gpt_small"}
