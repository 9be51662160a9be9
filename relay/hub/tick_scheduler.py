"""Ticks: all that one turn of the loop brings is handled, and then goes out at once.

Inputs (a client's bytes, mail, an answer of the directory, a timer) are handled one by one; what they cause gathers and
goes out at the end of the tick: one write a client, one PUBLISH a node.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final, Protocol

import structlog

from relay.session.peer_messages import Mail

# Clients that flood get their turn so many at a time: 256 KiB of text at most, some milliseconds. With all of 2,000 at
# once others' messages took twice as long (docs/decisions/0010).
FLOODS_AT_ONCE: Final = 16

log = structlog.get_logger()


class Settling(Protocol):
    """Somebody whose work gathers until the end of a tick: a client's connection."""

    def settle(self) -> None:
        """Do it."""


class TickScheduler:
    """Opens a tick with its first input, and closes it once nothing is left to be done."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        opened: Callable[[], None],
        deliver: Callable[[deque[Mail]], None],
        flush: Callable[[], None],
    ) -> None:
        """`opened` is called before the first input of a tick is handled, and `flush` when all of them were.

        `deliver` hands out the mail for sessions of this node, and empties the queue; it is called before those who are
        `dirty` settle, also where there is no mail.
        """
        self._loop = loop
        self._opened = opened
        self._deliver = deliver
        self._flush = flush
        self.mail: Final = deque[Mail]()  # for sessions here; whoever adds something has opened a tick
        self.dirty: dict[Settling, None] = {}  # those who settle in this tick; likewise
        self._later: dict[Settling, None] = {}
        self._open = False
        self.halted = False  # nobody carries anything out any more: alarms that are left do nothing

    def open_tick(self) -> None:
        """Open a tick, if none is open. This has to be called before any input is handled."""
        if self._open:
            return
        self._open = True
        self._loop.call_soon(self._close)
        self._opened()

    def _close(self) -> None:
        """Carry out everything that this tick's inputs caused, and what that causes in turn, until nothing is left."""
        while self.mail or self.dirty:
            self._deliver(self.mail)
            dirty, self.dirty = self.dirty, {}
            for one in dirty:
                try:
                    one.settle()
                except Exception:
                    log_defect()
        self._flush()
        self._open = False
        if self._later:
            self.dirty = {one: self._later.pop(one) for one in list(islice(self._later, FLOODS_AT_ONCE))}
            self.open_tick()

    def mark_dirty(self, one: Settling) -> None:
        """Have it settle at the end of this tick."""
        self.dirty[one] = None

    def defer(self, one: Settling) -> None:
        """Have it settle in a later tick: it has had its share of this one."""
        self._later[one] = None

    def receive(self, mails: list[Mail]) -> None:
        """Take mail from another node for sessions here."""
        self.open_tick()
        self.mail.extend(mails)

    def call_later(self, delay: float, then: Callable[[], None]) -> None:
        """Call `then` after so many seconds, in a tick of that time."""
        self._loop.call_later(delay, self._ring, then)

    def _ring(self, then: Callable[[], None]) -> None:
        if not self.halted:
            self.open_tick()
            then()


def log_defect() -> None:
    """Log a defect that one client or one piece of mail brings out: it must not stop the node for all the others."""
    log.exception("a step failed")
