"""A controller that follows a fixed schedule and uses no measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from esper_leyline import EnvironmentSpec, FactoredAction, Op, SeedReport, SeedStage, StepReport
from esper_leyline.actions import FULL_ALPHA_TARGET, TEMPO_EPOCHS
from esper_leyline.masks import valid_slots
from esper_leyline.ranges import MOST_EPOCHS
from esper_tamiyo.errors import TamiyoError


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """The schedule, in epochs.

    Attributes:
        first: Epochs that the host trains alone before its first seed.
        every: Epochs from one germination to the next.
        train: Epochs a seed trains in isolation.
        tempo: Epochs its blend takes, one of ``TEMPO_EPOCHS``.
        hold: Epochs it holds before it is fossilized.
        blueprint: What to germinate; ``None`` takes the task's blueprints in turn.

    Raises:
        TamiyoError: If a value is out of range.
    """

    first: int = 1
    every: int = 6
    train: int = 3
    tempo: int = TEMPO_EPOCHS[0]
    hold: int = 1
    blueprint: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("first", 0), ("every", 1), ("train", 1), ("hold", 1)):
            value = getattr(self, name)
            if not least <= value <= MOST_EPOCHS:
                raise TamiyoError(
                    f"'{name}' of a schedule is {value}; it is at least {least}, "
                    f"at most {MOST_EPOCHS}"
                )
        if self.tempo not in TEMPO_EPOCHS:
            allowed = ", ".join(map(str, TEMPO_EPOCHS))
            raise TamiyoError(f"'tempo' of a schedule is {self.tempo}; allowed: {allowed}")

    @property
    def life(self) -> int:
        """Steps from germination to fossil: one for each of the two, and the stages between."""
        return self.train + self.tempo + self.hold + 2


class ScheduleController:
    """Germinates, trains, blends and fossilizes at fixed epochs, whatever the results.

    Slots are filled in order. An action that is due but invalid is taken as soon as it is valid.
    Gates that open automatically shorten a stage. No seed germinates that could not be
    fossilized before the end.

    Raises:
        TamiyoError: If the schedule names a blueprint that the task does not allow.
    """

    def __init__(self, spec: EnvironmentSpec, config: ScheduleConfig | None = None) -> None:
        self._config = config or ScheduleConfig()
        chosen = self._config.blueprint
        if chosen is not None and chosen not in spec.blueprints:
            allowed = ", ".join(spec.blueprints)
            raise TamiyoError(f"the task has no blueprint '{chosen}'; allowed: {allowed}")
        self._blueprints = spec.blueprints if chosen is None else (chosen,)
        self._style = spec.styles[0]
        self._tempo = TEMPO_EPOCHS.index(self._config.tempo)
        self.reset(0)

    @property
    def reason(self) -> str:
        """Why the last action was chosen."""
        return self._reason

    def reset(self, rng_seed: int) -> None:  # noqa: ARG002
        """Starts the schedule again."""
        self._germinated = 0
        self._reason = "nothing has been decided yet"

    def decide(self, report: StepReport) -> FactoredAction:
        """Returns the action that is due."""
        slots = valid_slots(report)
        for op, due in self._rules():
            for slot in slots.get(op, ()):
                seed = report.seeds[slot]
                if due(seed):
                    self._reason = (
                        f"the schedule gives {seed.stage.name} {_epochs(seed.epochs_in_stage)}"
                    )
                    return FactoredAction(op=op, slot=slot)
        due_at = self._config.first + self._config.every * self._germinated
        left = report.max_epochs - report.epoch
        if left < self._config.life:
            self._reason = f"a seed takes {_epochs(self._config.life)}, and {left} are left"
        elif report.epoch < due_at:
            self._reason = f"the next seed is due at epoch {due_at}"
        elif Op.GERMINATE not in slots:
            self._reason = f"a seed was due at epoch {due_at}, and no slot can take one now"
        else:
            self._reason = f"a seed was due at epoch {due_at}"
            return self._germinate(slots[Op.GERMINATE][0])
        return FactoredAction()

    def _rules(self) -> tuple[tuple[Op, Callable[[SeedReport], bool]], ...]:
        config = self._config
        return (
            (Op.FOSSILIZE, lambda seed: seed.epochs_in_stage >= config.hold),
            (
                Op.ADVANCE,
                lambda seed: (
                    seed.stage is not SeedStage.TRAINING or seed.epochs_in_stage >= config.train
                ),
            ),
        )

    def _germinate(self, slot: int) -> FactoredAction:
        blueprint = self._blueprints[self._germinated % len(self._blueprints)]
        self._germinated += 1
        return FactoredAction(
            op=Op.GERMINATE,
            slot=slot,
            blueprint=blueprint,
            style=self._style,
            tempo=self._tempo,
            alpha_target=FULL_ALPHA_TARGET,
        )


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"
