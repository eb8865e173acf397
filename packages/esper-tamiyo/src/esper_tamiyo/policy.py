"""Policy V2: a recurrent actor-critic over factored actions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from esper_leyline import (
    HEADS,
    EnvironmentSpec,
    FactoredAction,
    Observation,
    Op,
    PolicyConfig,
    PolicyEvaluation,
    StepReport,
    head_sizes,
    observation_size,
)
from esper_leyline.ports import PolicyDecision, PolicyState
from esper_tamiyo.critic import CriticKind, OpCritic, expected_value
from esper_tamiyo.distributions import gumbel_noise
from esper_tamiyo.encoder import ObservationEncoder
from esper_tamiyo.heads import PolicyHeads
from esper_tamiyo.initialization import unit_embedding
from esper_tamiyo.normalizer import ObservationNormalizer
from esper_tamiyo.trunk import RecurrentTrunk


class RecurrentPolicy(nn.Module):
    """Implements Leyline's ``HostActorCritic``.

    Standardised features and the embeddings of the slots' blueprints are the input of a recurrent
    trunk. Its output, the memory, is the input of the op head, of the other heads, which also
    get the op, and of the critic. Weights are drawn from torch's global generator.

    Args:
        spec: The environment to decide for: its slots, blueprints and styles.
        config: Sizes and probability floors.
        critic: ``"q"`` for Q(s, op); ``"v"`` repeats one V(s) for every op (ablation).

    Raises:
        TamiyoError: If the critic is neither.
    """

    def __init__(
        self, spec: EnvironmentSpec, config: PolicyConfig, critic: CriticKind = "q"
    ) -> None:
        super().__init__()
        slots = len(spec.slots)
        choices = spec.blueprint_choices
        width = config.blueprint_embedding
        self.encoder = ObservationEncoder(spec)
        self.normalizer = ObservationNormalizer(slots)
        self.blueprints = unit_embedding(nn.Embedding(len(choices) + 1, width))
        self.trunk = RecurrentTrunk(
            observation_size(slots) + width * slots, config.feature_size, config.memory_size
        )
        self.policy = PolicyHeads(config.memory_size, head_sizes(slots, choices), config.floors)
        self.critic = OpCritic(config.memory_size, critic)
        self._evaluate_memory = self._evaluate_memory_eagerly

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where observations go."""
        return self.blueprints.weight.device

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads, in the order of an action's indices."""
        return HEADS

    @property
    def first_choices(self) -> tuple[str, ...]:
        """Names of the ops, in the order of the critic's values."""
        return tuple(op.name for op in Op)

    def head_parameters(self) -> dict[str, tuple[nn.Parameter, ...]]:
        """Returns the parameters that belong to one head alone, by head."""
        return {name: tuple(self.policy.heads[name].parameters()) for name in HEADS}

    def initial_state(self, environments: int) -> PolicyState:
        """Returns zeros, [N, H] each."""
        zeros = torch.zeros(environments, self.trunk.lstm.hidden_size, device=self.device)
        return zeros, zeros.clone()

    def encode(self, reports: Sequence[StepReport]) -> Observation:
        """Encodes one report of each environment, on the policy's device.

        Raises:
            TamiyoError: If a report's slots are not the policy's.
        """
        return self.encoder.encode(reports, self.device)

    def decode(self, actions: Tensor) -> tuple[FactoredAction, ...]:
        """Converts actions [N, heads] int64, as ``act`` returns them, to one per environment."""
        return tuple(
            FactoredAction.from_indices(row, self.encoder.blueprints) for row in actions.tolist()
        )

    def align_blueprints(
        self, name: str, saved: Tensor, rows: Sequence[str | None], fill: Tensor
    ) -> Tensor:
        """Moves the rows of a saved tensor to where this policy has the same blueprints.

        A policy that was saved with other blueprints can then be loaded: rows are found by the
        names of the blueprints, and a blueprint that is new keeps the rows of ``fill``.

        Args:
            name: A parameter's name in ``state_dict``.
            saved: What was saved for it, [saved rows, ...]: values, or an optimizer's moments.
            rows: The blueprints by row of the saved policy's embedding, ``None`` for an empty
                slot.
            fill: What new rows hold, [rows, ...] of this policy.

        Returns:
            A tensor like ``fill``, or ``saved`` itself if the parameter has no rows by blueprint,
            or ``saved`` does not have the rows that are named.
        """
        own: Sequence[str | None] = self.encoder.rows
        parameter = dict(self.named_parameters()).get(name)
        head = self.policy.heads["blueprint"].parameters()
        if any(parameter is each for each in head):
            rows, own = [row for row in rows if row is not None], self.encoder.blueprints
        elif parameter is not self.blueprints.weight:
            return saved
        if list(rows) == list(own) or saved.shape != (len(rows), *fill.shape[1:]):
            return saved
        aligned = fill.clone()
        for index, blueprint in enumerate(own):
            if blueprint in rows:
                aligned[index] = saved[rows.index(blueprint)]
        return aligned

    def update_normalizer(self, observation: Observation, valid: Tensor) -> None:
        """Adds a rollout [T, N, ...] to the running statistics; ``valid`` is [T, N] bool.

        Nothing else changes them, so they are constant during a rollout and its update.
        """
        self.normalizer.update(observation.features, valid)

    @torch.no_grad()
    def act(
        self,
        observation: Observation,
        state: PolicyState,
        *,
        generator: torch.Generator,
        greedy: bool = False,
    ) -> PolicyDecision:
        """Chooses one action an environment, the op first.

        Args:
            observation: [N, ...].
            state: The state before this step.
            generator: Decides the sample; one draw of [N, heads, widest head] a call,
                none when greedy.
            greedy: Whether to take the most probable choice of each head instead.
        """
        memory, after = self.trunk.step(self._inputs(observation), state)
        ops = self.policy.ops(memory, observation.masks["op"])
        noise = None if greedy else self._noise(memory.shape[0], generator)
        op = ops.pick(None if noise is None else noise[:, 0, : ops.probs.shape[-1]])
        arguments = self.policy.arguments(memory, op, observation.masks)
        chosen = arguments.pick(None if noise is None else noise[:, 1:])
        q_values = self.critic(memory)
        return PolicyDecision(
            actions=torch.cat((op.unsqueeze(-1), chosen), dim=-1),
            log_probs=_joined(ops.log_prob(op), arguments.log_prob(chosen)),
            probabilities=self.policy.probabilities(ops, arguments),
            q_values=q_values,
            value=expected_value(ops.probs, q_values),
            state=after,
        )

    def evaluate(
        self, observation: Observation, actions: Tensor, state: PolicyState, starts: Tensor
    ) -> PolicyEvaluation:
        """Evaluates stored actions over a sequence, with gradient.

        Args:
            observation: [T, N, ...].
            actions: [T, N, heads] int64, irrelevant heads canonical.
            state: The state before the first step.
            starts: [T, N] bool, true where an episode starts and the state is zeroed.
        """
        memory, after = self.trunk(self._inputs(observation), state, starts)
        log_probs, distributions, entropies, choosable, q_values, value = self._evaluate_memory(
            memory, actions, dict(observation.masks)
        )
        return PolicyEvaluation(
            log_probs=log_probs,
            log_distributions=distributions,
            entropies=entropies,
            choosable=choosable,
            q_values=q_values,
            value=value,
            state=after,
        )

    def compile_evaluation(self, mode: str = "default") -> None:
        """Compiles what ``evaluate`` computes from the memory, by ``torch.compile``.

        Heads, distributions and critic become one graph for every length and every number of
        environments. The LSTM, which is one kernel already, and ``act`` are not compiled;
        parameters and the names in ``state_dict`` do not change. Values differ from uncompiled
        ones by rounding.

        Args:
            mode: One of ``torch.compile``'s.
        """
        self._evaluate_memory = torch.compile(
            self._evaluate_memory_eagerly, mode=mode, fullgraph=True, dynamic=True
        )

    def _evaluate_memory_eagerly(
        self, memory: Tensor, actions: Tensor, masks: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Returns the fields of an evaluation, except the state, from memory [T, N, H]."""
        op, chosen = actions[..., 0], actions[..., 1:]
        ops = self.policy.ops(memory, masks["op"])
        arguments = self.policy.arguments(memory, op, masks)
        q_values = self.critic(memory)
        return (
            _joined(ops.log_prob(op), arguments.log_prob(chosen)),
            self.policy.log_distributions(ops, arguments),
            _joined(ops.entropy, arguments.entropy),
            _joined(ops.choices > 1, arguments.choices > 1),
            q_values,
            expected_value(ops.probs, q_values),
        )

    def _inputs(self, observation: Observation) -> Tensor:
        features = self.normalizer(observation.features)
        embedded = self.blueprints(observation.blueprints).flatten(-2)
        return torch.cat((features, embedded), dim=-1)

    def _noise(self, environments: int, generator: torch.Generator) -> Tensor:
        shape = (environments, len(HEADS), self.policy.width)
        return gumbel_noise(shape, generator).to(self.device)


def _joined(op: Tensor, arguments: Tensor) -> Tensor:
    """Puts the op's column [...] before the arguments' [..., 7], in the order of ``HEADS``."""
    return torch.cat((op.unsqueeze(-1), arguments), dim=-1)
