"""What of torch's functional Adam Simic relies on; these fail if a new torch changes it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from esper_simic import SimicError
from esper_simic._torch import Adam


def test_adam_follows_its_paper():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = Adam([weight], learning_rate=0.1, eps=1e-5)
    expected, mean, square = weight.detach().clone(), torch.zeros(2), torch.zeros(2)
    for step, gradient in enumerate(([1.0, 4.0], [-3.0, 0.0], [0.5, 0.25]), start=1):
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        mean = 0.9 * mean + 0.1 * weight.grad
        square = 0.999 * square + 0.001 * weight.grad**2
        corrected = (square / (1 - 0.999**step)).sqrt() + 1e-5
        expected -= 0.1 * mean / (1 - 0.9**step) / corrected
    assert torch.allclose(weight.detach(), expected, rtol=1e-9)


def test_adam_skips_parameters_without_gradient():
    weight, idle = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = Adam([weight, idle], learning_rate=0.1, eps=1e-5)
    weight.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(idle, torch.ones(2))
    assert not torch.equal(weight, torch.ones(2))
    optimizer.zero_grad()
    assert weight.grad is None


def test_adam_refuses_another_networks_state():
    first = Adam(torch.nn.Linear(4, 3).parameters(), learning_rate=0.01, eps=1e-5)
    second = Adam(torch.nn.Linear(5, 3).parameters(), learning_rate=0.01, eps=1e-5)
    with pytest.raises(SimicError, match="do not fit"):
        second.load_state_dict(first.state_dict())


@pytest.mark.slow
def test_adam_does_not_import_the_compiler():
    """``torch.optim.Adam`` does when it is constructed, which takes seconds."""
    code = (
        "import sys, torch; from esper_simic._torch import Adam; "
        "weight = torch.nn.Parameter(torch.ones(2)); weight.grad = torch.ones(2); "
        "Adam([weight], learning_rate=0.1, eps=1e-5).step(); "
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
