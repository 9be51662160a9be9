"""Read-side flow control of one connection: reading pauses while its lines or its replies back up."""

import asyncio
from typing import Final, Protocol

from relay.hub.hub import Hub
from relay.hub.partial_lines import PartialLine
from relay.hub.rate_limit import RateLimiter
from relay.metrics import Limit
from relay.protocol.dialects import CLASSIC
from relay.server.write_buffer import WriteBuffer
from relay.session.client_connection import ClientConnection
from relay.session.memory_budget import PLENTY

# Replies that a client hasn't read; above it, its lines aren't read either.
REPLY_BYTES: Final = 64 * 1024
# Lines kept while a session waits for acknowledgements: they have to be looked through for acknowledgements.
AHEAD_LINES: Final = 256
AHEAD_BYTES: Final = 64 * 1024
# The longest line before there is a name: that, and a token of 8 KiB. Nobody knows who says it, and it is in no budget.
NAMELESS_BYTES: Final = 10 * 1024


class GatedConnection(ClientConnection, PartialLine, Protocol):
    """What a gate looks at of the connection that it belongs to."""

    @property
    def rate_limiter(self) -> RateLimiter:
        """How much the client may say."""

    @property
    def write_buffer(self) -> WriteBuffer:
        """What the client is told."""

    @property
    def line_bytes(self) -> int:
        """Bytes of the lines that wait for their turn."""


class ReadGate:
    """Pauses and resumes the transport.

    A gate doesn't refer to its connection, which passes itself along: objects in a circle would wait for the cyclic
    collector, with the session that the connection refers to.
    """

    __slots__ = ("_hub", "_limit", "_slowed", "_transport", "paused", "resting_in")

    def __init__(self, hub: Hub, transport: asyncio.ReadTransport) -> None:
        self._hub = hub
        self._transport: asyncio.ReadTransport | None = transport  # None once the gate is closed
        self.paused = False
        self.resting_in = -1  # the turn of the loop in which nothing more is read
        self._slowed: asyncio.TimerHandle | None = None  # runs while the client has said too much at once
        self._limit: Limit | None = None  # for which reading has stopped

    def rest(self) -> None:
        """Read nothing more in this turn of the loop. Takes effect with the next `adjust`."""
        self.resting_in = self._hub.loop_iteration

    def adjust(self, connection: GatedConnection) -> None:
        """Pause or resume: read no faster than the session handles lines and the client reads replies."""
        transport, hub = self._transport, self._hub
        if transport is None or transport.is_closing():
            return
        pause = hub.held or connection.write_buffer.size > REPLY_BYTES or self.resting_in == hub.loop_iteration
        pause = pause or self._slowed is not None or not self._may_read_ahead(connection)
        pause = pause or (hub.memory_budget.allowance < PLENTY and not hub.partial_lines.admits(connection))
        if pause is not self.paused:
            self.paused = pause
            if pause:
                transport.pause_reading()
            else:
                transport.resume_reading()
        limit = self._reached(connection) if pause else None
        if limit is not self._limit:
            self._limit = limit
            if limit is not None:
                hub.counts.hit(limit)

    def _may_read_ahead(self, connection: GatedConnection) -> bool:
        """Lines wait in the kernel, unless an acknowledgement may be among them, or they would run together there."""
        if not connection.lines:
            return True
        if not connection.session.draining and connection.write_buffer.dialect is not CLASSIC:
            return False
        most = AHEAD_BYTES if connection.session.named else NAMELESS_BYTES
        return len(connection.lines) <= AHEAD_LINES and connection.line_bytes <= most

    def _reached(self, connection: GatedConnection) -> Limit | None:
        """The limit for which reading stops; None where it's only somebody else's turn."""
        session = connection.session
        if connection.write_buffer.size > REPLY_BYTES:
            return Limit.REPLIES
        return Limit.WINDOW if session.chat is not None and session.outbox.full(session.chat.window, 0) else None

    def slow_down(self, connection: GatedConnection) -> None:
        """Don't read for as long as what was read is ahead of its time."""
        loop = asyncio.get_running_loop()
        debt = connection.rate_limiter.debt(loop.time())
        if debt > 0 and self._slowed is None:
            self._hub.counts.hit(Limit.RATE)
            self._slowed = loop.call_later(debt, self._go_on, connection)
            self.adjust(connection)

    def _go_on(self, connection: GatedConnection) -> None:
        self._slowed = None
        self._hub.open_tick()
        self._hub.mark_dirty(connection)

    def close(self) -> None:
        """Leave the transport as it is from now on: nothing more that comes will be handled."""
        self._transport = None
        if self._slowed is not None:
            self._slowed.cancel()
            self._slowed = None
