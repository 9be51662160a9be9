"""Serves `/healthz` and `/readyz` for load balancers and orchestrators, and `/metrics` for Prometheus.

It needs neither a web framework nor an HTTP parser, because only the first line and one header matter. h11 (0.16)
refuses HTTP/1.1 without a `Host` header, which is answered here, and the limits on time, size and connections would be
needed here all the same.
"""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Final, cast

import anyio
import structlog
from anyio.abc import TaskGroup
from msgspec import Struct

from relay.logs import Spell

# The longest request. A probe sends one line and a few headers, at once.
REQUEST_BYTES: Final = 8192
# The time from the connection to the end of the request. A probe needs one or two round trips.
REQUEST_SECONDS: Final = 2.0
# The time from the request to the end of the response. It includes making the page and a slow reader.
RESPONSE_SECONDS: Final = 10.0
# The number of simultaneous connections. The node keeps as many descriptors free for them. A new connection replaces
# the oldest one that hasn't sent its request, or doesn't read. A probe, which sends its request at once, is therefore
# answered however many other connections are idle.
PLACES: Final = 16
# The metrics pages that may be waiting or in the making: enough for two or three Prometheus servers and a person.
# Further requests are refused with 503.
SCRAPES: Final = 4
# Connections that the kernel queues until they are accepted, which takes a fraction of a millisecond each.
BACKLOG: Final = 1024
# The pause after a failed accept.
RETRY_SECONDS: Final = 0.1

log = structlog.get_logger()


class Page(Struct, frozen=True):
    """A page and the value of its Content-Type header."""

    content_type: str
    body: bytes


TEXT: Final = "text/plain; charset=utf-8"
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Probes:
    """Answers GET and HEAD.

    A node that isn't ready answers 404 and not 503, because a load balancer must keep the connections of a live node.
    Making /metrics takes time. The other pages are answered as soon as the request has arrived.

    Args:
        ready: returns the reason why this node should get no new clients, or "".
        metrics: returns the page /metrics for an Accept header.
        but: returns a warning for operators about a node that is ready all the same, or "".
    """

    def __init__(
        self, ready: Callable[[], str], metrics: Callable[[str], Awaitable[Page]], but: Callable[[], str] = lambda: ""
    ) -> None:
        self._ready = ready
        self._but = but
        self._metrics = metrics
        self._open: dict[_Visit, None] = {}  # the oldest first
        self._scrapes = 0
        self._unanswered = Spell("probe not answered")
        self._tasks: TaskGroup | None = None

    async def serve(self, sock: socket.socket) -> None:
        """Answer on a bound socket until cancelled. No behaviour of a peer and no shortage of resources raises here."""
        sock.setblocking(False)
        sock.listen(BACKLOG)
        async with anyio.create_task_group() as self._tasks:
            try:
                while True:
                    await self._accept(sock)
            finally:
                for visit in list(self._open):
                    visit.abort()

    async def _accept(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            peer, _ = await loop.sock_accept(sock)
        except OSError as error:
            await self._not_accepted(error)
            return
        try:
            await loop.connect_accepted_socket(lambda: _Visit(self), peer)
        except OSError:  # the peer has closed the connection already
            peer.close()

    async def _not_accepted(self, error: OSError) -> None:
        """Pause after a failed accept: descriptors or memory are short, and the node has clients to serve."""
        if error.errno == errno.ECONNABORTED:
            return
        self._unanswered.again(error=str(error))
        self._make_room()
        await anyio.sleep(RETRY_SECONDS)

    def opened(self, visit: "_Visit") -> None:
        """Register a new connection, and close an idle one if there are too many."""
        if len(self._open) >= PLACES:
            self._make_room()
        self._open[visit] = None

    def closed(self, visit: "_Visit") -> None:
        """Forget a closed connection."""
        self._open.pop(visit, None)

    def _make_room(self) -> None:
        idle = next((visit for visit in self._open if not visit.made_for), None)
        if idle is not None:
            idle.abort()

    def asked(self, visit: "_Visit", request: bytes) -> None:
        """Answer a complete request, at once or once its page is made."""
        response = self.at_once(request)
        if response is not None:
            visit.answer(response)
        elif self._scrapes >= SCRAPES:
            visit.answer(_say(503, "too many ask for this page: try again"))
        else:
            self._scrapes += 1
            visit.made_for = True
            cast(TaskGroup, self._tasks).start_soon(self._scraped, visit, request)

    async def _scraped(self, visit: "_Visit", request: bytes) -> None:
        try:
            response = await self.made(request)
        finally:
            self._scrapes -= 1
        visit.made_for = False
        visit.answer(response)

    def at_once(self, request: bytes) -> bytes | None:
        """Return the response to a complete request, or None for /metrics, which has to be `made`."""
        words = request.partition(b"\n")[0].split()
        if len(words) != 3 or not words[2].startswith(b"HTTP/"):
            return _say(400, "not HTTP")
        method, path = words[0], words[1].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _say(405, "only GET and HEAD")
        if path == b"/metrics":
            return None
        return _fit(method, self._page(path))

    def _page(self, path: bytes) -> bytes:
        if path == b"/healthz":
            return _say(200, "alive")
        if path == b"/readyz":
            why_not = self._ready()
            but = self._but()
            return _say(404, why_not) if why_not else _say(200, f"ready, but {but}" if but else "ready")
        return _say(404, "no such page")

    async def made(self, request: bytes) -> bytes:
        """Return the response with the metrics, or a 500 if making them fails."""
        try:
            response = _response(200, await self._metrics(_header(request, b"accept")))
        except Exception:  # a defect in the metrics must not end the node
            log.exception("page not made")
            response = _say(500, "page not made")
        return _fit(request.split(maxsplit=1)[0], response)


class _Visit(asyncio.Protocol):
    """One connection with one request and one response.

    `made_for` is true while its page is being made: it must not be replaced by a new connection then.
    """

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._request = bytearray()
        self._asked = False
        self.made_for = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request, for `REQUEST_SECONDS` at most."""
        self._transport = cast(asyncio.Transport, transport)
        self._allow(REQUEST_SECONDS)
        self._probes.opened(self)

    def _allow(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)

    def data_received(self, data: bytes) -> None:
        """Collect the request. Data after it isn't read."""
        self._request += data
        request = self._request
        if b"\r\n\r\n" in request or b"\n\n" in request or len(request) >= REQUEST_BYTES:
            self._asked = True
            self._transport.pause_reading()
            self._timer.cancel()
            self._allow(RESPONSE_SECONDS)
            self._probes.asked(self, bytes(request))

    def eof_received(self) -> bool:
        """Return whether to keep the connection open, because the peer has sent a complete request."""
        return self._asked

    def answer(self, response: bytes) -> None:
        """Send the response and close, unless the peer is gone."""
        if not self._transport.is_closing():
            self._transport.write(response)
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._probes.closed(self)
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, which is closed."""
        self._timer.cancel()
        self._probes.closed(self)


def _header(request: bytes, name: bytes) -> str:
    """Return the value of a header, or "" if the request doesn't have it."""
    for line in request.splitlines()[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip().decode("latin-1")
    return ""


def _say(status: int, text: str) -> bytes:
    return _response(status, Page(TEXT, text.encode() + b"\n"))


def _response(status: int, page: Page) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {page.content_type}\r\n"
        f"Content-Length: {len(page.body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + page.body


def _fit(method: bytes, response: bytes) -> bytes:
    """Return the response without its body if the method is HEAD."""
    return response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == b"HEAD" else response
