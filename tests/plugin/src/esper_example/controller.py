"""A controller: decides for one host at a time."""

from __future__ import annotations

from esper_leyline import EnvironmentSpec, FactoredAction, Op, StepReport


class OneSeed:
    """Germinates the last blueprint of the task in the first slot, and then waits."""

    def __init__(self, spec: EnvironmentSpec) -> None:
        self.blueprint = spec.blueprints[-1]

    def reset(self, seed: int) -> None:
        """Has nothing to forget."""

    def decide(self, report: StepReport) -> FactoredAction:
        """Chooses the next action."""
        if Op.GERMINATE in report.seeds[0].permitted and report.epoch == 1:
            return FactoredAction(op=Op.GERMINATE, slot=0, blueprint=self.blueprint)
        return FactoredAction()
