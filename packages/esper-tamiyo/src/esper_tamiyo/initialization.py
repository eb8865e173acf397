"""Initialization of Policy V2: orthogonal weights (Saxe et al. 2014)."""

from __future__ import annotations

import math

import torch
from torch import nn

TRUNK_GAIN = math.sqrt(2.0)
POLICY_GAIN = 0.01
"""Near zero, so that every head is almost uniform over its open choices at first."""
CRITIC_GAIN = 1.0


def orthogonal_linear(layer: nn.Linear, gain: float) -> nn.Linear:
    """Gives a layer orthogonal weights and zero biases; returns it."""
    nn.init.orthogonal_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def orthogonal_lstm(lstm: nn.LSTM) -> nn.LSTM:
    """Gives each gate of a one-layer LSTM orthogonal weights; returns it.

    Biases are zero, except the forget gate's: 1, so that the cell state is kept at first
    (Jozefowicz et al. 2015).
    """
    size = lstm.hidden_size
    with torch.no_grad():
        input_weight, hidden_weight, input_bias, hidden_bias = lstm.all_weights[0]
        for weight in (input_weight, hidden_weight):
            for first in range(0, 4 * size, size):
                nn.init.orthogonal_(weight[first : first + size])
        input_bias.zero_()
        hidden_bias.zero_()
        input_bias[size : 2 * size] = 1.0
    return lstm


def unit_embedding(embedding: nn.Embedding) -> nn.Embedding:
    """Gives every row an expected norm of 1, the scale of the features."""
    nn.init.normal_(embedding.weight, std=embedding.embedding_dim**-0.5)
    return embedding
