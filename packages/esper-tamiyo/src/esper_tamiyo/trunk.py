"""The recurrent part of Policy V2: feature layer, LSTM with residual, layer norm."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from esper_leyline.ports import PolicyState
from esper_tamiyo.initialization import TRUNK_GAIN, orthogonal_linear, orthogonal_lstm


class RecurrentTrunk(nn.Module):
    """Linear, layer norm, ReLU; one LSTM with a residual connection; layer norm.

    The LSTM has one layer: with more, gradients were seen to vanish. If features and memory
    differ in size, the residual is a linear map without bias.
    """

    def __init__(self, inputs: int, features: int, memory: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            orthogonal_linear(nn.Linear(inputs, features), TRUNK_GAIN),
            nn.LayerNorm(features),
            nn.ReLU(),
        )
        self.lstm = orthogonal_lstm(nn.LSTM(features, memory))
        self.residual: nn.Module = (
            nn.Identity()
            if features == memory
            else orthogonal_linear(nn.Linear(features, memory, bias=False), 1.0)
        )
        self.norm = nn.LayerNorm(memory)

    def step(self, inputs: Tensor, state: PolicyState) -> tuple[Tensor, PolicyState]:
        """Runs one step; returns the memory [N, H] of inputs [N, I], and the state after it."""
        features = self.features(inputs)
        if features.is_cuda:
            # By cuDNN, as in a sequence, so that both round in the same way, also in TF32.
            _, after = self._run(features.unsqueeze(0), state)
        else:
            after = _lstm_step(self.lstm, features, state)
        return self.norm(after[0] + self.residual(features)), after

    def forward(
        self, inputs: Tensor, state: PolicyState, starts: Tensor
    ) -> tuple[Tensor, PolicyState]:
        """Runs a sequence; the state is zeroed where an episode starts.

        The sequence is split at the steps in which an episode starts, with one LSTM call for each
        part. A rollout of whole episodes is a single call.

        Args:
            inputs: [T, N, I].
            state: The state before the first step, each [N, H].
            starts: [T, N] bool.

        Returns:
            Memory [T, N, H] and the state after the last step.
        """
        features = self.features(inputs)
        length = features.shape[0]
        cuts = [step for step in starts.any(dim=1).nonzero().flatten().tolist() if step > 0]
        outputs = []
        for begin, end in pairwise((0, *cuts, length)):
            kept = ~starts[begin].unsqueeze(-1)
            state = (state[0] * kept, state[1] * kept)
            output, state = self._run(features[begin:end], state)
            outputs.append(output)
        output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        return self.norm(output + self.residual(features)), state

    def _run(self, features: Tensor, state: PolicyState) -> tuple[Tensor, PolicyState]:
        hidden, cell = state
        # In float32 also under autocast: rounding errors would add up over an episode, and oneDNN
        # has no LSTM in bfloat16 on some CPUs.
        with torch.autocast(features.device.type, enabled=False):
            output, (hidden, cell) = self.lstm(
                features.float(), (hidden.unsqueeze(0), cell.unsqueeze(0))
            )
        return output, (hidden.squeeze(0), cell.squeeze(0))


def _lstm_step(lstm: nn.LSTM, features: Tensor, state: PolicyState) -> PolicyState:
    """One step of a one-layer LSTM, [N, I] to hidden and cell state [N, H].

    Equal to calling the module with T = 1. That takes ten times as long on a CPU without
    gradient, because oneDNN reorders the weights in every call. With few rows and large
    weights the product is fastest with the weights on the left.
    """
    hidden, cell = state
    input_weight, hidden_weight, input_bias, hidden_bias = lstm.all_weights[0]
    gates = torch.addmm(torch.mm(input_weight, features.t()), hidden_weight, hidden.t()).t()
    enter, forget, new, leave = (gates + (input_bias + hidden_bias)).chunk(4, dim=-1)
    cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * cell.tanh(), cell
