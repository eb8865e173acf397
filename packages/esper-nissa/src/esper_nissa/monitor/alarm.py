"""An alarm with hysteresis: it starts after several bad values and ends at a good one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Alarm:
    """The state of an alarm.

    Attributes:
        active: Whether it has started and not ended yet.
        bad: Bad values in a row, while it has not started.
    """

    active: bool = False
    bad: int = 0

    def observe(self, *, bad: bool, good: bool, patience: int = 1) -> Alarm:
        """Returns the alarm after one more value.

        A value that is neither bad nor good keeps an active alarm active, and ends a row of bad
        values.

        Args:
            bad: Whether the value is beyond the limit at which the alarm starts.
            good: Whether it is back behind the limit at which the alarm ends.
            patience: Bad values in a row that start it.
        """
        if self.active:
            return Alarm() if good else self
        count = self.bad + 1 if bad else 0
        return Alarm(active=count >= patience, bad=0 if count >= patience else count)

    def starts(self, before: Alarm) -> bool:
        """Whether it is active now and was not before."""
        return self.active and not before.active

    def ends(self, before: Alarm) -> bool:
        """Whether it was active before and is not now."""
        return before.active and not self.active
