"""What ``esper_tolaria._torch`` relies on, and what breaks without it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from esper_tolaria._torch import adamw, divide_each, norm_of_each, sgd


@pytest.mark.parametrize("divisor", [1.0, 4.0])
def test_adamw_divides_gradients_by_grad_scale(divisor):
    """Without it gradients are not clipped."""
    parameter, reference = torch.ones(3), torch.nn.Parameter(torch.ones(3))
    gradient = torch.tensor([1.0, -2.0, 3.0])
    reference.grad = gradient / divisor
    torch.optim.AdamW([reference], lr=0.1, weight_decay=0.01, fused=True).step()
    state = [[torch.zeros(3)], [torch.zeros(3)], [], [torch.zeros(())]]
    adamw(
        [parameter],
        [gradient.clone()],
        *state,
        fused=True,
        grad_scale=torch.tensor(divisor),
        found_inf=None,
        amsgrad=False,
        beta1=0.9,
        beta2=0.999,
        lr=0.1,
        weight_decay=0.01,
        eps=1e-8,
        maximize=False,
    )
    assert torch.equal(parameter, reference.detach())
    assert torch.allclose(state[0][0], 0.1 * gradient / divisor)


def test_each_tensor_has_its_own_norm_and_divisor():
    """Without it the rows of a stack are not clipped."""
    tensors = [torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0, 2.0])]
    norms = norm_of_each(tensors)
    assert [norm.item() for norm in norms] == [5.0, 3.0]
    divide_each(tensors, [torch.tensor(2.0), torch.tensor(1.0)])
    assert torch.equal(tensors[0], torch.tensor([1.5, 2.0]))
    assert torch.equal(tensors[1], torch.tensor([1.0, 2.0, 2.0]))


def test_sgd_divides_gradients_by_grad_scale():
    """Without it gradients are not clipped."""
    parameter, buffer = torch.ones(3), torch.zeros(3)
    gradient = torch.tensor([1.0, -2.0, 3.0])
    sgd(
        [parameter],
        [gradient.clone()],
        [buffer],
        fused=True,
        grad_scale=torch.tensor(4.0),
        found_inf=None,
        weight_decay=0.0,
        momentum=0.9,
        lr=0.5,
        dampening=0.0,
        nesterov=False,
        maximize=False,
    )
    assert torch.allclose(parameter, 1 - 0.5 * gradient / 4)
    assert torch.allclose(buffer, gradient / 4)


@pytest.mark.slow
def test_a_step_does_not_import_the_compiler():
    """If it does, every worker process starts three seconds later."""
    script = (
        "import sys, torch\n"
        "from esper_leyline import HostTraining\n"
        "from esper_tolaria.engine.optimizers import ClippedAdamW, ClippedSGD\n"
        "for kind in (ClippedAdamW, ClippedSGD):\n"
        "    first, second = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))\n"
        "    optimizer = kind([first], HostTraining())\n"
        "    optimizer.add_param_group({'params': [second]})\n"
        "    (first + second).sum().backward()\n"
        "    optimizer.step()\n"
        "    optimizer.zero_grad()\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout == "False\n", done.stderr


def test_names_are_imported_on_first_use_and_unknown_ones_are_attribute_errors():
    import esper_tolaria

    names = set(esper_tolaria.__all__)
    assert names == set(esper_tolaria._MODULES)
    with pytest.raises(AttributeError, match="has no attribute 'get_task'"):
        _ = esper_tolaria.get_task
