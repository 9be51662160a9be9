"""When one client is read: no faster than its lines are handled, and than it reads. One half of a connection."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, cast

from relay.hub.hub import Router
from relay.hub.partial_lines import Half
from relay.hub.rate_limit import Pace
from relay.metrics import Limit
from relay.protocol.dialects import CLASSIC, Dialect, Framer, Line
from relay.server.write_buffer import Replies
from relay.session.client_connection import Outlet
from relay.session.memory_budget import LINE_BYTES, MESSAGE_BYTES, PLENTY
from relay.session.session import Session

# Replies that a client hasn't read; above it, its lines aren't read either.
REPLY_BYTES: Final = 64 * 1024
# Lines kept while a session waits for acknowledgements: they have to be looked through for acknowledgements.
AHEAD_LINES: Final = 256
AHEAD_BYTES: Final = 64 * 1024
# The longest line before there is a name: that, and a token of 8 KiB. Nobody knows who says it, and it is in no budget.
NAMELESS_BYTES: Final = 10 * 1024


class Reading(Replies):
    """Keeps the lines that wait for their turn, and has the transport read on or pause."""

    _framer: Framer

    __slots__ = ("_eof", "_limit", "_read_in", "_read_paused", "_slowed", "lines", "pace")

    def __init__(self, router: Router, dialect: Dialect | None, session: Session, pace: Pace) -> None:
        super().__init__(router, dialect, session)
        self.pace = pace
        self.lines: deque[Line] | tuple[()] = ()  # an empty deque would cost every idle client 0.7 KB
        self._eof = False
        self._slowed: asyncio.TimerHandle | None = None  # not read until then, having said too much at once
        self._read_in = -1  # the turn of the loop in which a large read came: no more in that turn
        self._read_paused = False
        self._limit: Limit | None = None  # for which reading has stopped

    def _take(self, lines: Sequence[Line]) -> None:
        """Lines came."""
        if self.lines:
            self.lines.extend(lines)
        else:
            self.lines = deque(lines)

    def _drop_lines(self) -> None:
        if self.lines:
            self.lines.clear()  # someone may be about to handle the next one
            self.lines = ()

    def _mind_reading(self) -> None:
        """Read no faster than the session handles lines and the client reads replies."""
        if self._eof or self.closing or self._transport.is_closing():
            return
        pause = self._router.held or self._out_bytes > REPLY_BYTES or self._read_in == self._router.round
        pause = pause or self._slowed is not None or not self._may_read_ahead()
        pause = pause or (self._router.budget.allowance < PLENTY and not self._router.halves.admits(cast(Half, self)))
        if pause is not self._read_paused:
            self._read_paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()
        limit = self._reached() if pause else None
        if limit is not self._limit:
            self._limit = limit
            if limit is not None:
                self._router.counts.hit(limit)

    def _reached(self) -> Limit | None:
        """The limit for which reading stops; None where it's only somebody else's turn."""
        chat = self.session.chat
        if self._out_bytes > REPLY_BYTES:
            return Limit.REPLIES
        return Limit.WINDOW if chat is not None and self.session.outbox.full(chat.window, 0) else None

    def _slow_down(self) -> None:
        """Don't read for as long as what was read is ahead of its time."""
        loop = asyncio.get_running_loop()
        debt = self.pace.debt(loop.time())
        if debt > 0 and self._slowed is None:
            self._router.counts.hit(Limit.RATE)
            self._slowed = loop.call_later(debt, self._go_on)
            self._mind_reading()

    def _go_on(self) -> None:
        self._slowed = None
        self._router.begin()
        self._router.touch(cast(Outlet, self))  # the other half is there

    def _may_read_ahead(self) -> bool:
        """Lines wait in the kernel, unless an acknowledgement may be among them, or they would run together there."""
        if not self.lines:
            return True
        if not self.session.draining and self._dialect is not CLASSIC:
            return False
        most = AHEAD_BYTES if self.session.named else NAMELESS_BYTES
        return len(self.lines) <= AHEAD_LINES and self._ahead_bytes() <= most

    def _ahead_bytes(self) -> int:
        return sum(len(line) for line in self.lines if isinstance(line, bytes))

    def _read_no_more(self) -> None:
        """The connection is gone."""
        if self._slowed is not None:
            self._slowed.cancel()

    @property
    def half(self) -> int:
        """Bytes of a line that isn't whole yet; they count once there is a name."""
        return self._framer.half if self.session.named else 0

    @property
    def unsaid(self) -> int:
        """Bytes by which that line may still grow."""
        return self._framer.limit - self._framer.half

    @property
    def held_bytes(self) -> int:
        """Memory that this client's messages, replies and half a line hold at the moment."""
        chat = self.session.chat
        window = chat.window.bytes + MESSAGE_BYTES * len(chat.window) if chat is not None else 0
        lines = self._ahead_bytes() + LINE_BYTES * len(self.lines) if self.lines else 0
        return window + self._out_bytes + MESSAGE_BYTES * len(self._out) + lines + self.half
