"""The turns of the loop of a node.

Inputs (a client's bytes, mail, an answer of the directory, a timer) are handled one by one; what they cause gathers and
goes out at the end of the turn: one write a client, one PUBLISH a node.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

import structlog

from relay.bus.bus import Bus
from relay.directory.directory import Lease
from relay.hub.lease_guard import Standing
from relay.session.client_connection import Outlet
from relay.session.peer_messages import Mail

# Lines handled in one turn of the loop: some ten milliseconds, so that a thousand floods don't hold it.
ROUND_LINES: Final = 4096
# Clients that flood get their turn so many at a time: 256 KiB of text at most, some milliseconds. With all of 2,000 at
# once others' messages took twice as long (docs/decisions/0010).
FLOODS_AT_ONCE: Final = 16

log = structlog.get_logger()


class Turns:
    """Opens a turn with its first input, and closes it. The half of `relay.hub.hub` that knows no sessions."""

    _loop: asyncio.AbstractEventLoop
    _bus: Bus
    _lease: Lease
    _standing: Standing

    def __init__(self) -> None:
        self.now = 0.0  # see `Host`
        self.instant = 0.0
        self.turn = 0
        self.lines = ROUND_LINES  # lines that may still be handled in this turn of the loop, all clients together
        self.round = 0  # turns of the loop in which there was something to do
        self.over = False  # nobody carries anything out any more: timers that are left do nothing
        self.holding: set[Outlet] = set()  # those that may hold something: the quiet ones cost nothing
        self._scheduled = False
        self._mail: deque[Mail] = deque()
        self._dirty: dict[Outlet, None] = {}
        self._later: dict[Outlet, None] = {}

    def begin(self) -> None:
        """To be called before any input is handled: opens a turn, if none is open, and looks at the lease."""
        if self._scheduled:
            return
        self._scheduled = True
        self.round += 1
        self.lines = ROUND_LINES
        self._loop.call_soon(self._end_turn)
        self.now, self.instant = int(time.time() * 1000) / 1000, time.monotonic()
        if self._standing.watching and not self._lease.standing:
            self._standing.overdue()

    def _end_turn(self) -> None:
        """Carry out everything that this turn's inputs caused, and what that causes in turn, until nothing is left."""
        while self._mail or self._dirty:
            self.turn += 1
            while self._mail:
                try:
                    self._deliver(self._mail.popleft())
                except Exception:
                    _log_defect()
            dirty, self._dirty = self._dirty, {}
            for outlet in dirty:
                try:
                    outlet.settle()
                except Exception:
                    _log_defect()
        self.turn += 1
        self._bus.flush()
        self._scheduled = False
        if self._later:
            self._dirty = {outlet: self._later.pop(outlet) for outlet in list(islice(self._later, FLOODS_AT_ONCE))}
            self.begin()

    def _deliver(self, mail: Mail) -> None:
        """Mail to a session here."""
        raise NotImplementedError

    def touch(self, outlet: Outlet) -> None:
        """Have the outlet pump and flush at the end of this turn."""
        self._dirty[outlet] = None

    def later(self, outlet: Outlet) -> None:
        """Have the outlet pump and flush in a later turn: it has had its share of this one."""
        self._later[outlet] = None

    def receive(self, mails: list[Mail]) -> None:
        """Mail from another node."""
        self.begin()
        self._mail.extend(mails)

    def alarm(self, delay: float, then: Callable[[], None]) -> None:
        """Do that so much later, in a turn of that time."""
        self._loop.call_later(delay, self._ring, then)

    def _ring(self, then: Callable[[], None]) -> None:
        if not self.over:
            self.begin()
            then()


def _log_defect() -> None:
    """A defect that one client or one piece of mail brings out must not stop the node for all the others."""
    log.exception("a step failed")
