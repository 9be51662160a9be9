"""Read-side flow control of one connection: reading pauses while its lines or its replies back up."""

import asyncio
from typing import Final, Protocol

from relay.hub.hub import Hub
from relay.hub.partial_line_turns import PartialLine
from relay.hub.rate_limit import RateLimiter
from relay.metrics import Limit
from relay.protocol.dialects import CLASSIC
from relay.server.write_buffer import WriteBuffer
from relay.session.client_connection_interface import ClientConnection
from relay.session.memory_budget import PLENTY
from relay.web.dialect import WEB

# Unread replies of one client, in bytes. Above this, its lines aren't read either.
REPLY_BYTES: Final = 64 * 1024
# The lines read ahead while a session waits for acknowledgements, because the acknowledgements may be among them. A
# WebSocket client's messages are read ahead whenever its session waits, because a ping may be among its frames, and a
# library takes a connection without a pong for dead.
AHEAD_LINES: Final = 256
AHEAD_BYTES: Final = 64 * 1024
# The longest line of a client without a name: the name and a token of 8 KiB. No memory budget covers such a client.
NAMELESS_BYTES: Final = 10 * 1024


class GatedConnection(ClientConnection, PartialLine, Protocol):
    """The parts of a connection that its gate reads."""

    @property
    def rate_limiter(self) -> RateLimiter:
        """The limit on how much the client may send."""

    @property
    def write_buffer(self) -> WriteBuffer:
        """The replies to the client."""

    @property
    def line_bytes(self) -> int:
        """Bytes of the lines that wait for their turn."""


class ReadGate:
    """Pauses and resumes reading on one transport.

    A gate has no reference to its connection, which passes itself to each call: a reference cycle would keep both, and
    the session, in memory until the cyclic garbage collector runs.
    """

    __slots__ = ("_hub", "_limit", "_slowed", "_transport", "paused", "resting_in")

    def __init__(self, hub: Hub, transport: asyncio.ReadTransport) -> None:
        self._hub = hub
        self._transport: asyncio.ReadTransport | None = transport  # None once the gate is closed
        self.paused = False
        self.resting_in = -1  # the loop iteration in which nothing more is read
        self._slowed: asyncio.TimerHandle | None = None  # runs while the client exceeds its rate
        self._limit: Limit | None = None  # the limit that has paused reading

    def rest(self) -> None:
        """Read nothing more in this loop iteration. Takes effect with the next `adjust`."""
        self.resting_in = self._hub.loop_iteration

    def adjust(self, connection: GatedConnection) -> None:
        """Pause or resume: read no faster than the session handles lines and the client reads replies."""
        transport, hub = self._transport, self._hub
        if transport is None or transport.is_closing():
            return
        pause = hub.lines_held or connection.write_buffer.size > REPLY_BYTES or self.resting_in == hub.loop_iteration
        pause = pause or self._slowed is not None or not self._may_read_ahead(connection)
        pause = pause or (hub.memory_budget.allowance < PLENTY and not hub.partial_line_turns.admits(connection))
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
        """Return whether to read while lines still wait.

        Further lines stay in the kernel, unless acknowledgements may be among them (while the session is draining),
        unless they would merge there (in the classic dialect, where one read is one line), or unless a ping may be
        behind them (over WebSocket, while the session is blocked and memory isn't short).
        """
        if not connection.lines:
            return True
        if not connection.session.draining and not self._wants_more(connection):
            return False
        most = AHEAD_BYTES if connection.session.named else NAMELESS_BYTES
        return len(connection.lines) <= AHEAD_LINES and connection.line_bytes <= most

    def _wants_more(self, connection: GatedConnection) -> bool:
        dialect = connection.write_buffer.dialect
        if dialect is WEB:
            session = connection.session
            return session.named and session.blocked and self._hub.memory_budget.allowance >= PLENTY
        return dialect is CLASSIC

    def _reached(self, connection: GatedConnection) -> Limit | None:
        """Return the limit that pauses reading, or None if the connection only waits for its turn."""
        session = connection.session
        if connection.write_buffer.size > REPLY_BYTES:
            return Limit.REPLIES
        return Limit.WINDOW if session.chat is not None and session.send_window.full(session.chat.unacked, 0) else None

    def slow_down(self, connection: GatedConnection) -> None:
        """Pause reading until the client is within its rate again."""
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
        """Never pause or resume the transport again: nothing more that arrives will be handled."""
        self._transport = None
        if self._slowed is not None:
            self._slowed.cancel()
            self._slowed = None
