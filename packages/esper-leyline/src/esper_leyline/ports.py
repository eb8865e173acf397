"""Where domains meet: protocols that one domain implements and another calls.

Tensors appear by name only, so importing this module loads no torch. Shapes use
T steps, N environments, B samples, S slots, C classes, F features and H units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from esper_leyline.actions import (
    BlendStyle,
    FactoredAction,
    Topology,
    blueprint_choices,
    blueprint_rows,
)
from esper_leyline.commands import SeedCommand
from esper_leyline.config.host import HostOptions
from esper_leyline.events import AnyPayload, Event
from esper_leyline.reports import (
    CommandResult,
    EvaluationReport,
    Measurement,
    RewardBreakdown,
    SeedEvent,
    SeedMeasurement,
    SeedReport,
    StepReport,
)
from esper_leyline.specs.hosts import HostSpec

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter
    from torch.optim import Optimizer


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterCounts:
    """Trainable parameters by whom they belong to."""

    host: int
    fossil: int
    live: int


HOST_GROUP = "host"
"""Key of the host's own parameters among the groups; the others are slot ids."""


class MorphogeneticHost(Protocol):
    """A network with slots in which seeds live. Kasmina implements, Tolaria calls.

    A step of the environment calls, in this order: ``apply_command``, ``sync_optimizer``,
    training with ``record_gradients`` after the last backward pass, validation,
    ``record_validation``, ``tick``, ``sync_optimizer``.
    """

    @property
    def slots(self) -> tuple[str, ...]:
        """The enabled slots, row-major."""

    def __call__(self, inputs: Tensor, alpha: Tensor | None = None) -> Tensor:
        """Runs the network.

        Args:
            inputs: [B, ...].
            alpha: [B, S] overrides per sample and enabled slot; NaN keeps the seed's own.

        Returns:
            Logits [B, C], or [B, T, C] over tokens.
        """

    def counterfactuals(self, inputs: Tensor, disabled: Sequence[frozenset[str]]) -> Tensor:
        """Runs the network once for each set of slots held at alpha zero.

        The part before the first slot that differs is computed once.

        Returns:
            Logits [len(disabled), B, ...], each row as one forward pass returns it.
        """

    def train(self, mode: bool = True) -> Any:
        """Switches between training and evaluation behaviour, as in torch."""

    def to(self, device: Any) -> Any:
        """Moves the host, and seeds that germinate later, to a device, as in torch."""

    def apply_command(self, command: SeedCommand) -> CommandResult:
        """Carries out a lifecycle command, or says why not; a refusal changes nothing."""

    def record_gradients(self) -> None:
        """Measures gradients where they stand; called once an epoch, after a backward pass."""

    def record_validation(self, accuracy: float, measurements: Sequence[SeedMeasurement]) -> None:
        """Takes in what validation said, for gates and reports. Accuracy in percent."""

    def tick(self) -> None:
        """Ends an epoch: ramps, embargoes and auto-forwarding move on by one."""

    def prune_live(self) -> None:
        """Removes every live seed immediately, at any age; the governor does this in a rollback."""

    def take_events(self) -> tuple[SeedEvent, ...]:
        """Returns what happened since the last call, in order, and clears the list."""

    def seed_reports(self) -> tuple[SeedReport, ...]:
        """Describes the present state of every enabled slot, row-major."""

    def parameter_counts(self) -> ParameterCounts:
        """Counts trainable parameters, frozen ones of a seed being pruned included."""

    def named_parameters(self) -> Iterable[tuple[str, Parameter]]:
        """Yields every parameter of the host and its seeds with its name, once, as in torch."""

    def parameter_groups(self) -> Mapping[str, Sequence[Parameter]]:
        """Returns the host's parameters under ``HOST_GROUP`` and each seed's under its slot."""

    def sync_optimizer(
        self, optimizer: Optimizer, seed_options: Mapping[str, Any] | None = None
    ) -> None:
        """Adds the parameters of new seeds to an optimizer and removes those of removed seeds.

        The state of every other parameter is left as it is.
        """

    def stack(self, others: Sequence[MorphogeneticHost]) -> HostStack | None:
        """Joins this host and others of its kind, in this order, to be trained together.

        Returns ``None`` where hosts of this kind gain nothing by it.
        """

    def snapshot(self) -> Any:
        """Returns a copy of everything that ``restore`` needs."""

    def restore(self, snapshot: Any) -> None:
        """Puts the host back to a snapshot."""


@dataclass(frozen=True, slots=True, eq=False)
class StackedRow:
    """The parameters of one host, or of one seed, in a stack.

    Attributes:
        parameters: Views of ``values``, one after another.
        values: [P]; longer than the parameters together, the rest is zero.
        gradients: [P], those of the last backward pass.
    """

    parameters: tuple[Parameter, ...]
    values: Tensor
    gradients: Tensor


class HostStack(Protocol):
    """K hosts of one kind that are computed together. Kasmina implements, Tolaria calls.

    While a stack is in use, ``rows`` and ``seed_rows`` are trained in place of the parameters,
    which stay views of them. A seed that has no row is trained by its own parameters.
    """

    @property
    def rows(self) -> Sequence[StackedRow]:
        """The parameters of each host itself, in the order of the hosts."""

    @property
    def seed_rows(self) -> Sequence[StackedRow]:
        """The parameters of each seed that the stack trains; valid until ``regroup``."""

    def regroup(self) -> None:
        """Finds the seeds that are computed together; call it before an epoch's first batch."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Runs every host on inputs [B, ...] in training mode; returns logits [K, B, C]."""

    def backward(self, gradient: Tensor) -> None:
        """Computes the gradients of rows and seeds from that of the logits [K, B, C]."""

    def counterfactuals(
        self, inputs: Tensor, disabled: Sequence[Sequence[frozenset[str]]]
    ) -> Sequence[Tensor]:
        """Evaluates every host once for each set of disabled slots; call it before the tick.

        Returns:
            Logits [configurations, B, C] of each host.
        """

    def share_gradients(self) -> None:
        """Sets the gradients of all parameters that have a row to views of the row."""

    def clear_gradients(self) -> None:
        """Sets those gradients to ``None``."""


class HostFactory(Protocol):
    """Builds a host; must be importable by name so that worker processes can call it."""

    def __call__(self, spec: HostSpec, options: HostOptions) -> MorphogeneticHost:
        """Builds a host whose weights, and whose seeds' weights, follow from the random seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSpec:
    """What a policy must know of an environment to be built for it."""

    environments: int
    max_epochs: int
    slots: tuple[str, ...]
    topology: Topology
    blueprints: tuple[str, ...]
    styles: tuple[BlendStyle, ...]
    host_parameters: int

    @property
    def blueprint_choices(self) -> tuple[str, ...]:
        """The choices of the blueprint head, by index; those not in ``blueprints`` are masked."""
        return blueprint_choices(self.blueprints)

    @property
    def blueprint_rows(self) -> tuple[str | None, ...]:
        """The blueprints by row of an embedding; ``None`` is the row of an empty slot."""
        return blueprint_rows(self.blueprints)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlacement:
    """Where a host computes.

    Attributes:
        device: The device that trains it, such as ``cuda:0``.
        worker: Index of the worker process; ``None`` in the process of the environment.
    """

    device: str
    worker: int | None = None


class Environment(Protocol):
    """K hosts that train side by side. Tolaria implements, Simic and the apps call."""

    @property
    def spec(self) -> EnvironmentSpec:
        """The fixed facts of this environment."""

    @property
    def placements(self) -> tuple[HostPlacement, ...]:
        """Where each host of the current episodes computes, by environment."""

    def reset(self, rng_seeds: Sequence[int]) -> tuple[StepReport, ...]:
        """Starts one episode with a fresh host for each random seed, at most ``environments``."""

    def step(self, actions: Sequence[FactoredAction]) -> tuple[StepReport, ...]:
        """Carries out one action a host and trains each for one epoch.

        A host whose episode is over stays as it is; its last report is returned again.
        """

    def evaluate(self) -> tuple[EvaluationReport, ...]:
        """Judges the hosts as they stand on the test split."""

    def close(self) -> None:
        """Releases workers and memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Encoded reports.

    Attributes:
        features: [..., N, F] float32, not yet normalised.
        blueprints: [..., N, S] int64 indices into the blueprint embedding.
        masks: Open choices by head, bool: ``op`` [..., N, ops]; ``slot``
            [..., N, ops, S], given the op; every other head [..., N, choices].
    """

    features: Tensor
    blueprints: Tensor
    masks: Mapping[str, Tensor]


PolicyState = tuple["Tensor", "Tensor"]
"""Hidden and cell state of the recurrent core, each [N, H]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDecision:
    """Sampled actions and what they were sampled from.

    Attributes:
        actions: [N, heads] int64, irrelevant heads canonical.
        log_probs: [N, heads], irrelevant heads 0.
        probabilities: By head [N, choices], given the op that was sampled.
        q_values: [N, ops] in the critic's own units.
        value: [N], the expectation of Q under the policy.
        state: The recurrent state after this step.
    """

    actions: Tensor
    log_probs: Tensor
    probabilities: Mapping[str, Tensor]
    q_values: Tensor
    value: Tensor
    state: PolicyState


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEvaluation:
    """A policy's present view of stored actions.

    Attributes:
        log_probs: [T, N, heads], irrelevant heads 0.
        log_distributions: Log-probabilities of every choice, [T, N, heads, widest head], given
            the op that was taken; minus infinity where closed. No gradient.
        entropies: [T, N, heads], divided by ln(open choices); 0 where nothing can be chosen.
        choosable: [T, N, heads] bool: the op reads the head and it has two or more open choices.
        q_values: [T, N, ops] in the critic's own units.
        value: [T, N].
        state: The recurrent state after the last step.
    """

    log_probs: Tensor
    log_distributions: Tensor
    entropies: Tensor
    choosable: Tensor
    q_values: Tensor
    value: Tensor
    state: PolicyState


class ActorCritic(Protocol):
    """A recurrent policy with its critic, over factored actions. Simic trains it.

    It is also a ``torch.nn.Module``; Simic calls ``parameters``, ``state_dict`` and
    ``load_state_dict``.
    """

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads, in the order of ``PolicyDecision.actions``."""

    @property
    def first_choices(self) -> tuple[str, ...]:
        """Names of the first head's choices, in the order of ``PolicyDecision.q_values``."""

    def head_parameters(self) -> Mapping[str, Sequence[Parameter]]:
        """Returns the parameters that belong to one head alone, by head."""

    def initial_state(self, environments: int) -> PolicyState:
        """Returns the state at the start of an episode: zeros."""

    def update_normalizer(self, observation: Observation, valid: Tensor) -> None:
        """Takes a rollout [T, N, ...] into the running statistics; ``valid`` is [T, N] bool."""

    def act(
        self, observation: Observation, state: PolicyState, *, generator: Any, greedy: bool = False
    ) -> PolicyDecision:
        """Chooses one action an environment; records no gradient."""

    def evaluate(
        self, observation: Observation, actions: Tensor, state: PolicyState, starts: Tensor
    ) -> PolicyEvaluation:
        """Evaluates stored actions over a sequence.

        Args:
            observation: [T, N, ...].
            actions: [T, N, heads] int64.
            state: The state before the first step.
            starts: [T, N] bool, true where an episode starts and the state is zeroed.
        """


class HostActorCritic(ActorCritic, Protocol):
    """An ``ActorCritic`` that decides for hosts. Tamiyo implements, Simic trains it."""

    def encode(self, reports: Sequence[StepReport]) -> Observation:
        """Encodes one report an environment, [N, ...], on the policy's device."""

    def decode(self, actions: Tensor) -> tuple[FactoredAction, ...]:
        """Converts actions [N, heads] int64, as ``act`` returns them, to one per environment."""


class Controller(Protocol):
    """Decides for one host at a time. Tamiyo implements, the apps call."""

    def reset(self, rng_seed: int) -> None:
        """Forgets the last episode; randomness follows from ``rng_seed``."""

    def decide(self, report: StepReport) -> FactoredAction:
        """Chooses the next action."""


@runtime_checkable
class ExplainingController(Controller, Protocol):
    """A controller that says why it decided; the log keeps it with each decision."""

    @property
    def reason(self) -> str:
        """Why the last action was chosen, in one sentence."""


class RewardFunction(Protocol):
    """Computes the reward of a step. Simic implements and calls."""

    @property
    def requires(self) -> frozenset[Measurement]:
        """The counterfactuals that it needs, besides each seed left out."""

    def __call__(
        self, previous: StepReport, action: FactoredAction, current: StepReport
    ) -> RewardBreakdown:
        """Returns the reward for what ``action`` made of ``previous``."""


class Telemetry(Protocol):
    """Where a domain says what happened. Nissa's hub implements, everyone calls."""

    def emit(
        self,
        payload: AnyPayload,
        *,
        round: int | None = None,
        epoch: int | None = None,
        environment: int | None = None,
    ) -> None:
        """Stamps a payload and passes it to the sinks; never blocks on them."""


class TelemetrySink(Protocol):
    """Where events end up. Nissa implements."""

    def emit(self, event: Event) -> None:
        """Takes one event."""

    def close(self) -> None:
        """Writes what is buffered and releases resources."""


class NullTelemetry:
    """A telemetry that discards everything, for use without a run directory."""

    def emit(
        self,
        payload: AnyPayload,
        *,
        round: int | None = None,
        epoch: int | None = None,
        environment: int | None = None,
    ) -> None:
        """Discards the payload."""
