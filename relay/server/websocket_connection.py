"""One client's WebSocket connection, from the end of its opening handshake on.

What a client says and hears is that of the JSON dialect. This adds control frames: pings, and the closing handshake.
"""

import asyncio
from typing import Final

from relay.hub.hub import Hub
from relay.hub.loop_tick import log_defect
from relay.hub.rate_limit import NOWHERE, ClientSource
from relay.metrics import Limit
from relay.server.connection import Connection, received
from relay.server.ping_timer import PingTimer
from relay.server.read_gate import NAMELESS_BYTES
from relay.server.websocket_write_buffer import WebSocketWriteBuffer
from relay.server.write_buffer import WriteBuffer
from relay.session.session import State
from relay.web.dialect import WEB
from relay.web.frames import PING_FRAME, TOO_BIG, End, MessageFramer

# Proxies end a connection on which nothing passes: most after 60 s, some after 30.
PING_SECONDS: Final = 25.0
# The time from the node's close frame to the client's. A browser answers in a round trip.
CLOSE_SECONDS: Final = 5.0
# The time in which what a client said before its close frame is answered before the frame is: as much as a claim or a
# look-up may take. Longer waits are for other users.
ANSWER_SECONDS: Final = 1.0

NO_NAME: Final = End(1008, "no name came in time")
# The client has said nothing that a code could answer.
NO_CODE: Final = End(1005)
DEFECT: Final = End(1011, "a defect of the node")


class WebSocketConnection(Connection):
    """See `Connection`. The session knows nothing of WebSocket.

    `connection_made` has to be called once the answer to the opening handshake is written.
    """

    __slots__ = ("_heard_end", "_messages", "_out", "_ping_timer", "_waits")

    _out: WebSocketWriteBuffer

    def __init__(self, hub: Hub, max_line: int, ping_timer: PingTimer, *, origin: ClientSource = NOWHERE) -> None:
        super().__init__(hub, max_line, origin=origin, counted=True, resumable=True)
        self._dialect = WEB
        self._framer = self._messages = MessageFramer(min(max_line, NAMELESS_BYTES), max_line)
        self._heard_end = False  # the client's close frame, or the end of its stream, has come
        self._waits = False  # for the client's close frame
        self._ping_timer = ping_timer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `Connection`."""
        super().connection_made(transport)
        self._ping_timer.add(self, asyncio.get_running_loop().time() + PING_SECONDS)

    def _make_write_buffer(self) -> WriteBuffer:
        self._out = WebSocketWriteBuffer(self._transport, self.session, self._hub.delayed_acks)
        self._messages.sink = self._out
        return self._out

    def buffer_updated(self, nbytes: int) -> None:
        """See `Connection`. After the close frame only the client's own matters."""
        try:
            framer = self._messages
            if self._out.closed:
                framer.feed(received(nbytes))
            else:
                super().buffer_updated(nbytes)
            if framer.other_frames or framer.ended is not None:
                self._controlled()
        except Exception:
            log_defect()
            self.fail()

    def eof_received(self) -> bool:
        """Treat the end of the stream as a close: a WebSocket client that sends nothing more is gone."""
        self._hub.open_tick()
        self._hear_end(NO_CODE)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """See `Connection`."""
        self._ping_timer.discard(self)
        self._messages.drop()
        super().connection_lost(exc)

    # --- control frames

    def _controlled(self) -> None:
        """Flush the pongs, charge the frames, and answer a close frame or a broken protocol."""
        framer = self._messages
        frames, framer.other_frames = framer.other_frames, 0
        self._hub.open_tick()
        self._hub.mark_dirty(self)
        if self.rate_limiter.spend(frames, 0):
            self.read_gate.slow_down(self)
        end = framer.ended
        if end is None:
            return
        if end.by_client:
            self._hear_end(End(end.code))
        elif not self._out.closed:
            if end.code == TOO_BIG:
                self._hub.counts.hit(Limit.LINE)
            self._end(end)

    def ping_if_due(self, now: float) -> float:
        """See `Pinging`. A client that doesn't read gets no ping: something is on its way to it."""
        out = self._out
        due = out.wrote_at + PING_SECONDS
        if due > now:
            return due
        if not out.behind and not out.size:
            self._hub.open_tick()
            out.add(PING_FRAME)
            self._hub.mark_dirty(self)
        return now + PING_SECONDS

    # --- the end

    def fail(self) -> None:
        """See `Pinging`."""
        self._end(DEFECT)

    def _hear_end(self, end: End) -> None:
        """The client closes: answer with a close frame, and close once that is written.

        What it said before is answered first, if that takes no longer than `ANSWER_SECONDS`.
        """
        if self._heard_end:
            return
        self._heard_end = True
        self._hub.mark_dirty(self)
        if not self._out.closed:
            self._out.answer_end(end)
            self._stop_timer()
            self._timer = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._end, end)
            self._hang_up()

    def end_tick(self) -> None:
        """See `Connection`."""
        super().end_tick()
        if self._heard_end and not self.lines:
            self._end(self._out.end)

    def _run_name_timer(self) -> None:
        if not self._heard_end:
            super()._run_name_timer()

    def _end(self, end: End) -> None:
        """Close the connection with this code. To the session its client is lost."""
        if self._gone or self._out.closed:
            return
        self._out.end = end
        self._out.close()
        self._hub.open_tick()
        self._await_end()
        self._hub.mark_dirty(self)
        self._hang_up()

    def close(self) -> None:
        """Close once the client has read what it was sent, and has answered the close frame."""
        if self._heard_end:
            self._end(self._out.end)
        if self._out.closed:
            self._drop_lines()
            return
        super().close()

    def _listen(self) -> None:
        """Read on, if reading was paused: the client's close frame is still to come."""
        if self.read_gate.paused and not self._gone and not self._transport.is_closing():
            self.read_gate.paused = False
            self._transport.resume_reading()

    def _await_end(self) -> None:
        """Wait for the client's part of the closing handshake, for `CLOSE_SECONDS` at most."""
        self._waits = True
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)
        self._listen()

    def _all_taken(self) -> None:
        """See `Connection`."""
        if not self._out.closed or self._heard_end:
            super()._all_taken()
            return
        if not self._waits:
            self._await_end()
        if self._messages.ended is not None:
            # Nothing more is read of a client that broke the protocol, so its close frame can't be awaited.
            self._transport.write_eof()

    def _settle_overdue(self) -> None:
        if self.session.state is State.NAMELESS:
            self._out.end = NO_NAME
        super()._settle_overdue()

    def _no_name(self) -> None:
        self._end(NO_NAME)
