"""Schedules ticks: the inputs of one loop iteration are handled, and then all their outputs leave at once.

Inputs (a client's bytes, peer messages, an answer of the directory, a timer) are handled one by one. Their outputs
gather and leave at the end of the tick: one write for each client, one PUBLISH for each node.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final, Protocol

import structlog

from relay.session.peer_messages import Mail

# This many clients that flood get a share of one tick: 256 KiB of text at most, some milliseconds. With all of 2,000 at
# once the messages of other clients took twice as long (docs/decisions/0010).
FLOODS_AT_ONCE: Final = 16

log = structlog.get_logger()


class TickParticipant(Protocol):
    """A participant whose work gathers until the end of a tick, such as a client's connection."""

    def end_tick(self) -> None:
        """Do the work that has gathered."""


class LoopTick:
    """Opens a tick with its first input, and closes it once no work is left."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        opened: Callable[[], None],
        deliver: Callable[[deque[Mail]], None],
        flush: Callable[[], None],
    ) -> None:
        """`opened` is called before the first input of a tick is handled, and `flush` after all work of the tick.

        `deliver` hands out the peer messages for sessions of this node, and empties the queue. It is called before the
        `dirty` ones end their tick, even if there are no messages.
        """
        self._loop = loop
        self._opened = opened
        self._deliver = deliver
        self._flush = flush
        self.mail: Final = deque[Mail]()  # for sessions here; a tick must be open before a message is added
        # Their `end_tick` is called in this tick. A tick must be open before one is added.
        self.dirty: dict[TickParticipant, None] = {}
        self._later: dict[TickParticipant, None] = {}
        self._open = False
        self.halted = False  # the node has stopped: remaining timers do nothing

    def open_tick(self) -> None:
        """Open a tick if none is open. This must be called before any input is handled."""
        if self._open:
            return
        self._open = True
        self._loop.call_soon(self._close)
        self._opened()

    def _close(self) -> None:
        """Deliver peer messages and end the participants' tick until no work is left, then flush.

        Deferred work opens the next tick.
        """
        while self.mail or self.dirty:
            self._deliver(self.mail)
            dirty, self.dirty = self.dirty, {}
            for one in dirty:
                try:
                    one.end_tick()
                except Exception:
                    log_defect()
        self._flush()
        self._open = False
        if self._later:
            self.dirty = {one: self._later.pop(one) for one in list(islice(self._later, FLOODS_AT_ONCE))}
            self.open_tick()

    def mark_dirty(self, one: TickParticipant) -> None:
        """Call `end_tick` of this participant at the end of this tick."""
        self.dirty[one] = None

    def defer(self, one: TickParticipant) -> None:
        """Call `end_tick` in a later tick, because this participant has had its share of this one."""
        self._later[one] = None

    def receive(self, mails: list[Mail]) -> None:
        """Queue peer messages from another node for sessions here. The bus calls this as `BusDelegate.receive`."""
        self.open_tick()
        self.mail.extend(mails)

    def call_later(self, delay: float, then: Callable[[], None]) -> None:
        """Call `then` after `delay` seconds, in an open tick."""
        self._loop.call_later(delay, self._ring, then)

    def _ring(self, then: Callable[[], None]) -> None:
        if not self.halted:
            self.open_tick()
            then()


def log_defect() -> None:
    """Log a defect that one client or one peer message caused, because it must not stop the node for all others."""
    log.exception("a step failed")
