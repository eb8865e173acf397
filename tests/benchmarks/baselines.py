"""Recurrent PPO of other libraries, one update of the size that is asked for.

All networks are of Esper's size: features to SIZE with layer norm and ReLU, one LSTM of SIZE, as
many hidden units to the logits of Esper's eight heads (it has half for the op and half for the
rest), and half as many to the value. Batch, epochs and optimiser (Adam) are the same too; what is
measured is the update alone, from a rollout with advantages.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from gymnasium import Env, spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.logger import configure
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv
from tensordict import TensorDict
from tensordict.nn import (
    ProbabilisticTensorDictModule,
    ProbabilisticTensorDictSequential,
    TensorDictModule,
    TensorDictSequential,
)
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution
from torchrl.modules import LSTMModule, ValueOperator, set_recurrent_mode
from torchrl.objectives import ClipPPOLoss

from esper_leyline import head_sizes
from esper_leyline.observation import policy_input_size

INPUTS = policy_input_size(3)
HEADS = tuple(head_sizes(3).values())


def feature_net(size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(INPUTS, size), nn.LayerNorm(size), nn.ReLU())


class FeatureNet(BaseFeaturesExtractor):
    """The feature net as Stable-Baselines3 takes it."""

    def __init__(self, observation_space: spaces.Box, size: int) -> None:
        super().__init__(observation_space, size)
        self.net = feature_net(size)

    def forward(self, observations: Tensor) -> Tensor:
        return self.net(observations)


class Noise(Env):
    """Says nothing of interest; the rollout is filled by hand."""

    observation_space = spaces.Box(-1.0, 1.0, (INPUTS,))
    action_space = spaces.MultiDiscrete(HEADS)


def sb3_update(
    environments: int, steps: int, epochs: int, size: int, *, starts: bool
) -> Callable[[], None]:
    """One ``RecurrentPPO.train``, actor and critic sharing one LSTM."""
    learner = RecurrentPPO(
        "MlpLstmPolicy",
        DummyVecEnv([Noise] * environments),
        n_steps=steps,
        batch_size=environments * steps,
        n_epochs=epochs,
        policy_kwargs={
            "features_extractor_class": FeatureNet,
            "features_extractor_kwargs": {"size": size},
            "lstm_hidden_size": size,
            "shared_lstm": True,
            "enable_critic_lstm": False,
            "net_arch": {"pi": [size], "vf": [size // 2]},
            "activation_fn": nn.ReLU,
        },
        device="cpu",
        seed=0,
    )
    learner.set_logger(configure(None, []))
    _fill(learner, environments, steps, starts=starts)
    return learner.train


def _fill(learner: RecurrentPPO, environments: int, steps: int, *, starts: bool) -> None:
    random = np.random.default_rng(0)
    buffer, policy = learner.rollout_buffer, learner.policy
    state = torch.zeros(1, environments, policy.lstm_actor.hidden_size)
    states = RNNStates((state, state), (state, state))
    for step in range(steps):
        seen = random.uniform(-1, 1, (environments, INPUTS)).astype(np.float32)
        begins = np.full(environments, float(starts and step == 0), dtype=np.float32)
        with torch.no_grad():
            actions, values, log_probs, after = policy(
                torch.from_numpy(seen), states, torch.from_numpy(begins)
            )
        rewards = random.normal(size=environments)
        buffer.add(seen, actions.numpy(), rewards, begins, values, log_probs, lstm_states=states)
        states = after
    buffer.compute_returns_and_advantage(torch.zeros(environments), np.ones(environments))


class Factored(Distribution):
    """One categorical a head over joined logits [..., sum of sizes]."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits.shape[:-1], torch.Size([len(HEADS)]), validate_args=False)
        parts = logits.split(HEADS, dim=-1)
        self.heads = [Categorical(logits=part, validate_args=False) for part in parts]

    def log_prob(self, value: Tensor) -> Tensor:
        pairs = zip(self.heads, value.unbind(-1), strict=True)
        return torch.stack([head.log_prob(index) for head, index in pairs], dim=-1).sum(-1)

    def entropy(self) -> Tensor:
        return torch.stack([head.entropy() for head in self.heads], dim=-1).sum(-1)


def torchrl_update(environments: int, steps: int, epochs: int, size: int) -> Callable[[], None]:
    """As many passes of ``ClipPPOLoss``, actor and critic sharing what ``LSTMModule`` computes."""
    torch.manual_seed(0)
    trunk = TensorDictSequential(
        TensorDictModule(feature_net(size), ["observation"], ["embed"]),
        LSTMModule(size, size, in_key="embed", out_key="embed"),
    )
    logits = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, sum(HEADS)))
    actor = ProbabilisticTensorDictSequential(
        trunk,
        TensorDictModule(logits, ["embed"], ["logits"]),
        ProbabilisticTensorDictModule(
            ["logits"], ["action"], distribution_class=Factored, return_log_prob=True
        ),
    )
    value = nn.Sequential(nn.Linear(size, size // 2), nn.ReLU(), nn.Linear(size // 2, 1))
    # It reads what the actor's pass left, so that the LSTM runs once.
    critic = ValueOperator(value, in_keys=["embed"])
    loss = ClipPPOLoss(
        actor,
        critic,
        entropy_coeff=0.05,
        critic_coeff=0.5,
        loss_critic_type="l2",
        normalize_advantage=True,
    )
    optimizer = torch.optim.Adam(loss.parameters(), lr=3e-4, eps=1e-5)
    rollout = _episodes(environments, steps, size, loss)

    def update() -> None:
        for _ in range(epochs):
            with set_recurrent_mode(True):
                terms = loss(rollout)
            total = terms["loss_objective"] + terms["loss_critic"] + terms["loss_entropy"]
            optimizer.zero_grad()
            total.backward()
            nn.utils.clip_grad_norm_(loss.parameters(), 5.0)
            optimizer.step()

    return update


def _episodes(environments: int, steps: int, size: int, loss: ClipPPOLoss) -> TensorDict:
    """Whole episodes, one a row, begun by zeros."""
    shape = (environments, steps)
    starts = torch.zeros(*shape, 1, dtype=torch.bool)
    starts[:, 0] = True
    actions = torch.stack([torch.randint(count, shape) for count in HEADS], dim=-1)
    rollout = TensorDict(
        {
            "observation": torch.rand(*shape, INPUTS) * 2 - 1,
            "is_init": starts,
            "recurrent_state_h": torch.zeros(*shape, 1, size),
            "recurrent_state_c": torch.zeros(*shape, 1, size),
            "action": actions,
            "advantage": torch.randn(*shape, 1),
            "value_target": torch.randn(*shape, 1),
        },
        batch_size=shape,
    )
    with torch.no_grad(), set_recurrent_mode(True):
        old = loss.actor_network.get_dist(rollout.clone()).log_prob(actions)
    rollout["action_log_prob"] = old
    return rollout
