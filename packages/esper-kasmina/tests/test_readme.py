"""The README and the pages on growing layers: each block of code runs, and statements hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from esper_kasmina import BLUEPRINTS, ActivationSpec, Seed, build_host, seed_slots
from esper_leyline import HostOptions, Topology

from .host_specs import HOST_SPECS

PACKAGE = Path(__file__).parents[1]
DOCS = PACKAGE.parents[1] / "docs"
PAGES = (PACKAGE / "README.md", DOCS / "growing.md", DOCS / "blueprints.md")
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
EXAMPLES = re.findall(
    r"```python\n(.*?)```(?:\n\n(?:\w[^`]*\n\n)?```text\n(.*?)```)?", TEXT, re.DOTALL
)
SPIRALS = next(code for code, _ in EXAMPLES if "def spirals" in code)
TORCH = tuple(int(part) for part in torch.__version__.split(".")[:2])
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
TOLERANCE = 5.0
"""Allowed difference of a printed number in points, because processors round differently."""


def run(code: str) -> dict[str, object]:
    """Executes a block as if it had been copied into an empty file."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    exec(compile(code, "README.md", "exec"), namespace)
    return namespace


def assert_alike(printed: str, promised: str) -> None:
    """Checks that words and integers are the same, and numbers with decimals are near."""
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", promised)
    for found, wanted in zip(NUMBER.findall(printed), NUMBER.findall(promised), strict=True):
        if "." in wanted:
            assert float(found) == pytest.approx(float(wanted), abs=TOLERANCE)
        else:
            assert found == wanted


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_each_block_runs_alone_and_prints_what_it_says(number, capsys):
    code, promised = EXAMPLES[number]
    run(code)
    printed = capsys.readouterr().out
    assert_alike(printed, promised)


def test_every_code_block_is_tested():
    assert len(EXAMPLES) == TEXT.count("```python")
    assert sum(bool(promised) for _, promised in EXAMPLES) == TEXT.count("```text")
    for words in ("grow(", "output=0", "load_state_dict", "register_blueprint("):
        assert any(words in code for code, _ in EXAMPLES)


def test_the_readme_is_short_and_leads_with_an_example():
    readme = PAGES[0].read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 250
    assert readme.index("```python") < readme.index("|")


def test_the_spirals_end_in_plain_pytorch_that_computes_the_same():
    namespace = run(SPIRALS)
    plain, grown, points = namespace["plain"], namespace["grafted"], namespace["test"][0]
    assert type(plain) is nn.Sequential
    assert not seed_slots(plain)
    torch.testing.assert_close(plain.eval()(points), grown.eval()(points))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_gain_is_reproduced_for_five_random_seeds(seed, capsys):
    row = re.search(rf"^\| {seed} \| (.*) \|$", TEXT, re.MULTILINE)
    before, without, grown = map(float, row[1].split(" | "))
    run(SPIRALS.replace("manual_seed(0)", f"manual_seed({seed})"))
    found = [float(each) for each in re.findall(r"([\d.]+) %", capsys.readouterr().out)]
    assert found == pytest.approx([before, grown, without], abs=TOLERANCE)
    assert grown > without + 20


@pytest.mark.parametrize(
    ("topology", "heading", "activations", "shape"),
    [
        (Topology.CNN, "For maps of C", ActivationSpec.maps(64), (1, 64, 16, 16)),
        (Topology.TRANSFORMER, "For tokens of width D", ActivationSpec.tokens(384), (1, 256, 384)),
    ],
)
def test_the_costs_of_blueprints_are_as_stated(topology, heading, activations, shape):
    table = TEXT.split(heading)[1].split("\n\n")[1]
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\d,]+) \| ([\d.]+) \|", table, re.MULTILINE)
    assert {name for name, *_ in rows} == set(BLUEPRINTS[topology])
    for name, parameters, flops in rows:
        seed = Seed(name, activations)
        with FlopCounterMode(display=False) as counter:
            seed.branch(torch.zeros(shape))
        assert f"{seed.size:,}" == parameters, name
        if "attention" in name and TORCH < (2, 15):
            continue  # its counter counts fused attention in another way
        assert f"{counter.get_total_flops() / 1e6:.2f}" == flops, name


def test_the_parameters_of_named_hosts_are_as_stated():
    rows = dict(re.findall(r"^\| `(\w+)` \| \w.*\| ([\d,]+) \|$", TEXT, re.MULTILINE))
    for name, count in rows.items():
        if name not in HOST_SPECS:
            continue
        spec = HOST_SPECS[name]
        host = build_host(spec, HostOptions(slots=spec.slots, rng_seed=1))
        assert f"{host.parameter_counts().host:,}" == count, name
    assert set(rows) & set(HOST_SPECS) >= {"cifar10", "tinystories", "gpt_small"}
