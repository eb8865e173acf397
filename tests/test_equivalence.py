"""A change that only moves or renames code leaves every reported number as it was, to the bit."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location(
    "equivalence", Path(__file__).with_name("equivalence.py")
)
equivalence = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(equivalence)


@pytest.mark.slow
@pytest.mark.parametrize("case", equivalence.CASES)
def test_numbers_and_weights_are_as_recorded(case):
    recorded = equivalence.recorded()
    if recorded is None:
        pytest.skip(f"no record for {equivalence.machine()}: python tests/equivalence.py record")
    assert equivalence.differences(recorded[case], equivalence.run_case(case)) == []


def test_a_digest_moves_with_a_value_and_not_with_its_name_or_place():
    def digest(record):
        return equivalence.digest(list(equivalence.numbers(record)))

    record = {"round": 1, "loss": 0.25, "slots": [{"age": 3}], "seconds": 1.5}
    assert digest(record) == digest({"seeds": {"age": 3}, "val_loss": 0.25, "number": 1})
    assert digest(record) == digest({**record, "seconds": 2.5})
    assert digest(record) != digest({**record, "loss": 0.2500000001})
    assert digest(record) != digest({**record, "extra": 0.25})


def test_a_digest_depends_on_bits_shape_and_dtype_of_weights():
    import torch

    def digest(tensor):
        return equivalence.digest(list(equivalence.tensors({"layer": [tensor]})))

    zeros = torch.zeros(2, 3)
    assert digest(zeros) == digest(torch.zeros(2, 3))
    assert digest(zeros) != digest(-zeros)
    assert digest(zeros) != digest(zeros.T)
    assert digest(zeros) != digest(zeros.double())
