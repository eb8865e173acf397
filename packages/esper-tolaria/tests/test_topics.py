from __future__ import annotations

import re
import sys
from pydoc_data.topics import topics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esper_tolaria import TolariaError, find_task, load_dataset
from esper_tolaria.datasets.tokens import cut_tokens, tokens_needed

TASK = find_task("topics").spec
SPEC = TASK.data


def text_of(split) -> str:
    return bytes(split.inputs.flatten().tolist()).decode(errors="replace")


@given(rows=st.integers(1, 6), length=st.integers(1, 9), spare=st.integers(0, 5))
def test_every_target_is_the_token_after_its_input(rows, length, spare):
    spec = SPEC.model_copy(update={"input_shape": (length,)})
    assert tokens_needed(spec, rows) == rows * length + 1
    tokens = torch.arange(100, 101 + rows * length + spare)
    split = cut_tokens(tokens, spec, rows, place="here")
    assert torch.equal(split.inputs.flatten(), tokens[: rows * length])
    assert torch.equal(split.targets, split.inputs + 1)
    assert split.predictions == length


def test_too_little_text_is_an_error():
    with pytest.raises(TolariaError, match="needs 129 tokens for 2 rows, and here has 128"):
        cut_tokens(torch.arange(128), SPEC, 2, place="here")


def test_rows_are_cut_from_the_help_texts():
    data = load_dataset(TASK)
    paragraphs = {text for name in topics for text in re.split(r"\n\s*\n", topics[name].strip())}
    for split in (data.train, data.validation, data.test):
        found = text_of(split).split("\n\n")
        assert len(found) > 50
        assert set(found[:-1]) <= paragraphs  # the last one is cut off


def test_splits_have_no_paragraph_in_common():
    data = load_dataset(TASK)
    seen = [set(text_of(split).split("\n\n")) for split in (data.train, data.validation, data.test)]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert {text for text in seen[first] & seen[second] if len(text) > 12} == set()


def test_a_python_with_less_text_is_an_error(monkeypatch, nowhere):
    monkeypatch.setitem(sys.modules["pydoc_data.topics"].__dict__, "topics", {"if": "a\n\nb"})
    with pytest.raises(TolariaError, match=r"this Python's pydoc_data\.topics has"):
        find_task("topics").load(SPEC, nowhere)
