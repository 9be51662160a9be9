"""The clocks of a simulated machine: one that never steps, and one that shows the time of day and may be wrong."""

from collections.abc import Callable
from typing import Final

# The time of day at which every world begins: 2026-01-01 00:00 UTC.
EPOCH: Final = 1_767_225_600.0


class Clock:
    """The clocks of one machine, which may run too fast or too slowly, and be set to another time of day.

    Args:
        now: returns the true time, in seconds since the world began.
        booted: the seconds that the machine had been running when the world began: what `monotonic` starts at.
    """

    __slots__ = ("_begun", "_floor", "_now", "_rate", "_shown", "_wrong_by", "changed")

    def __init__(self, now: Callable[[], float], booted: float = 0.0) -> None:
        self._now = now
        self._begun = now()  # the true time of the last change of the rate
        self._shown = booted  # what `monotonic` showed then
        self._rate = 1.0
        self.changed: list[Callable[[], object]] = []  # are called when `true_time` has changed its answers
        self._floor = booted
        self._wrong_by = EPOCH - booted

    def monotonic(self) -> float:
        """Return the seconds of the clock that never steps and never goes back."""
        shown = self._shown + (self._now() - self._begun) * self._rate
        return shown if shown > self._floor else self._floor

    def time_of_day(self) -> float:
        """Return the seconds since 1970, as this machine believes."""
        return self.monotonic() + self._wrong_by

    def run_at(self, rate: float) -> None:
        """Let both clocks run `rate` times as fast as true time: 1.0 is right, 1.001 gains a millisecond a second."""
        if rate <= 0:
            raise ValueError("a clock can't stand still or run backwards")
        self._begun, self._shown, self._rate = self._now(), self.monotonic(), rate
        self._tell()

    def step(self, seconds: float) -> None:
        """Set the time of day forward, or back if `seconds` is negative. The clock that never steps doesn't notice."""
        self._wrong_by += seconds

    def sleep(self, seconds: float) -> None:
        """Let both clocks jump forward, as after a suspension of the machine in which `CLOCK_BOOTTIME` went on."""
        if seconds < 0:
            raise ValueError("a clock that never steps can't go back")
        self._shown += seconds
        self._tell()

    def _tell(self) -> None:
        for tell in self.changed:
            tell()

    def true_time(self, monotonic: float) -> float:
        """Return the true time at which `monotonic` will show this, or showed it."""
        return self._begun + (monotonic - self._shown) / self._rate

    def reach(self, monotonic: float) -> None:
        """Show at least this from now on.

        The scheduler calls this at the true time of a timer. The two conversions may be off by a rounding, and a timer
        must never fire while its clock shows less: programs would start the same timer again, without end.
        """
        self._floor = max(self._floor, monotonic)
