"""Tells WebSocket connections when to look whether a ping is due: one timer for all of them, at each second.

A timer for each connection would cost an idle one a tenth of its memory.
"""

import asyncio
from typing import Final, Protocol

from relay.hub.loop_tick import log_defect

# The precision of pings.
STEP_SECONDS: Final = 1.0


class Pinging(Protocol):
    """A connection that sends pings."""

    def ping_if_due(self, now: float) -> float:
        """Send a ping if one is due. Returns when to look again, by the clock of the loop."""

    def fail(self) -> None:
        """End the connection, because of a defect."""


class PingTimer:
    """Keeps connections by the step at whose end they have to look."""

    def __init__(self) -> None:
        self._steps: dict[int, dict[Pinging, None]] = {}  # in the order in which they came
        self._timer: asyncio.TimerHandle | None = None

    def add(self, one: Pinging, at: float) -> None:
        """Have a connection look at this time, or up to `STEP_SECONDS` later."""
        self._steps.setdefault(int(at / STEP_SECONDS) + 1, {})[one] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(STEP_SECONDS, self._look)

    def discard(self, one: Pinging) -> None:
        """Forget a connection that is gone."""
        for step in self._steps.values():
            step.pop(one, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(STEP_SECONDS, self._look) if self._steps else None
        now = loop.time()
        for due in [step for step in self._steps if step * STEP_SECONDS <= now]:
            ones = self._steps[due]
            while ones:
                self._ask(ones.popitem()[0], now)
            del self._steps[due]

    def _ask(self, one: Pinging, now: float) -> None:
        try:
            at = one.ping_if_due(now)
        except Exception:  # a defect of one connection must not take their pings from all others
            log_defect()
            one.fail()
        else:
            self.add(one, at)

    def close(self) -> None:
        """Stop the timer, because the node stops."""
        if self._timer is not None:
            self._timer.cancel()
