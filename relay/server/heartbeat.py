"""Tells WebSocket connections when to look whether a ping is due: one timer for all of them, at each second.

A timer for each connection would cost an idle one a tenth of its memory.
"""

import asyncio
from typing import Final, Protocol

# The precision of pings.
STEP_SECONDS: Final = 1.0


class Beating(Protocol):
    """A connection that sends pings."""

    def beat(self, now: float) -> float:
        """Send a ping if one is due. Returns when to look again, by the clock of the loop."""


class Heartbeat:
    """Keeps connections by the step at whose end they have to look."""

    def __init__(self) -> None:
        self._steps: dict[int, dict[Beating, None]] = {}  # in the order in which they came
        self._timer: asyncio.TimerHandle | None = None

    def add(self, one: Beating, at: float) -> None:
        """Have a connection look at this time, or up to `STEP_SECONDS` later."""
        self._steps.setdefault(int(at / STEP_SECONDS) + 1, {})[one] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(STEP_SECONDS, self._look)

    def discard(self, one: Beating) -> None:
        """Forget a connection that is gone."""
        for step in self._steps.values():
            step.pop(one, None)

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for due in [step for step in self._steps if step * STEP_SECONDS <= now]:
            for one in self._steps.pop(due):
                self.add(one, one.beat(now))
        if self._steps and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(STEP_SECONDS, self._look)

    def close(self) -> None:
        """Stop the timer, because the node stops."""
        if self._timer is not None:
            self._timer.cancel()
