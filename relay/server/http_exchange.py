"""One HTTP request on a port for clients: it is answered, or becomes a WebSocket connection."""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from relay.hub.hub import Hub
from relay.hub.loop_tick import log_defect
from relay.hub.rate_limit import ClientSource
from relay.metrics import Limit
from relay.server.connection import replay
from relay.server.ping_timer import PingTimer
from relay.server.websocket_connection import WebSocketConnection
from relay.web.answers import refusal
from relay.web.head import BadHead, Head, HeadReader
from relay.web.responder import UPGRADED, HttpResponder

# A connection is closed this long after its answer, if the client doesn't close it before. Until then what the client
# still sends is read and dropped: if it stayed in the kernel, TCP would take the answer back.
LINGER_SECONDS: Final = 5.0
# A connection that is being closed is cut off after this time, if the client hasn't read its answer. The kernel holds
# most of it, so only the rest of a large file has to be read in this time.
UNREAD_SECONDS: Final = 30.0
READ_BYTES: Final = 4 * 1024


class HttpExchange(asyncio.BufferedProtocol):
    """See the module. `begin` has to be called with the first bytes."""

    def __init__(
        self, server: "HttpServer", transport: asyncio.Transport, origin: ClientSource, deadline: float
    ) -> None:
        self._server = server
        self._transport = transport
        self._origin = origin
        self._reader = HeadReader()
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._answered = False
        self._full = False
        self._timer = asyncio.get_running_loop().call_at(deadline, self._late)

    def begin(self, data: bytes) -> None:
        """Take the first bytes."""
        self._transport.set_protocol(self)
        self._feed(data)

    # --- asyncio

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer for the next read."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take more of the head. Nothing behind an answer matters."""
        if not self._answered:
            self._feed(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        """Close once the answer is written: the client sends nothing more."""
        self._close()
        return True

    def pause_writing(self) -> None:
        """Note that the kernel lacks some of the answer."""
        self._full = True

    def resume_writing(self) -> None:
        """Note that the kernel has the whole answer."""
        self._full = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting the connection."""
        self._timer.cancel()
        self._server.gone(self)
        self._origin.left()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    # --- the request

    def _feed(self, data: bytes) -> None:
        try:
            head = self._reader.feed(data)
            if head is not None:
                self._handle(head)
        except BadHead as error:
            self._server.counts_bad_head(error)
            self._answer(refusal(error.status, str(error)), linger=True)
        except Exception:
            log_defect()
            self._answer(refusal(500, "A defect of this node; its log has more."), linger=True)

    def _late(self) -> None:
        self._server.hub.counts.hit(Limit.HTTP_HEAD)
        self._answer(refusal(408, "The request took too long."), linger=True)

    def _handle(self, head: Head) -> None:
        self._timer.cancel()
        server = self._server
        address = server.address(self._transport, self._origin)
        reply = server.responder.reply(head, address, lambda: self._why_full(head, address))
        if reply.status != UPGRADED:
            self._answer(reply.data, linger=head.has_body or bool(head.rest))
            return
        server.gone(self)
        self._transport.write(reply.data)
        client = server.connect(self._origin)
        self._transport.set_protocol(client)
        client.connection_made(self._transport)
        if self._full:
            client.pause_writing()
        replay(head.rest, client)

    def _why_full(self, head: Head, address: str) -> tuple[int, str] | None:
        """Return why no client may come in now, or None. A client behind a proxy counts as one of its own address."""
        server = self._server
        if why := server.why_full():
            return 503, f"No room: {why}."
        client = server.responder.proxies.client(address, head.all("x-forwarded-for"))
        if client != address:
            moved = server.move(self._origin, client)
            if moved is None:
                return 429, "Too many connections from this address."
            self._origin = moved
        return None

    def _answer(self, data: bytes, *, linger: bool) -> None:
        self._answered = True
        self._timer.cancel()
        self._transport.write(data)
        if linger:
            self._transport.write_eof()  # or the client would wait for more
            self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._close)
        else:
            self._close()

    def _close(self) -> None:
        """Close once the client has read the answer, or after `UNREAD_SECONDS`."""
        self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(UNREAD_SECONDS, self._transport.abort)
        self._transport.close()


class HttpServer:
    """What the exchanges of one node share. It takes over the connections of clients that speak HTTP."""

    def __init__(
        self,
        hub: Hub,
        responder: HttpResponder,
        max_line: int,
        *,
        why_full: Callable[[], str],
        move: Callable[[ClientSource, str], ClientSource | None],
    ) -> None:
        """`why_full()` says why there is no room, or "". `move` counts a connection for another address from now on."""
        self.hub, self.responder = hub, responder
        self.why_full, self.move = why_full, move
        self._max_line = max_line
        self.ping_timer: Final = PingTimer()
        self._open: dict[HttpExchange, None] = {}  # in the order in which they came

    def take_over(self, transport: asyncio.Transport, data: bytes, origin: ClientSource, deadline: float) -> None:
        """See `HttpTakeover`."""
        exchange = HttpExchange(self, transport, origin, deadline)
        self._open[exchange] = None
        exchange.begin(data)

    def gone(self, exchange: HttpExchange) -> None:
        """Forget an exchange that is over."""
        self._open.pop(exchange, None)

    def connect(self, origin: ClientSource) -> WebSocketConnection:
        """Return the connection of a client whose handshake is done."""
        return WebSocketConnection(self.hub, self._max_line, self.ping_timer, origin=origin)

    def counts_bad_head(self, error: BadHead) -> None:
        """Count a head that was too large."""
        if error.status == 431:
            self.hub.counts.hit(Limit.HTTP_HEAD)

    def address(self, transport: asyncio.Transport, origin: ClientSource) -> str:
        """Return the address of the peer, without its port."""
        if origin.peer:
            return origin.peer
        peer = cast("tuple[str, int] | None", transport.get_extra_info("peername"))
        return peer[0] if peer else ""

    def shut(self) -> None:
        """Abort what is still under way. The ports have to be closed already."""
        for exchange in list(self._open):
            exchange.abort()
        self.ping_timer.close()
