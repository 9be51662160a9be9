"""`/healthz` and `/readyz` for load balancers and orchestrators, `/metrics` for Prometheus: no need for a framework.

Nor is there for a parser of HTTP: only the first line and one header matter. h11 (0.16) refuses HTTP/1.1 without a
`SessionRuntime`, which is answered here, and the limits on time, size and places would have to stand here all the same.
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

# A probe's request: one line and a few headers, sent at once.
REQUEST_BYTES: Final = 8192
# From the connection to the end of the request: a round trip or two. Who takes longer is no probe.
REQUEST_SECONDS: Final = 2.0
# From the request to the end of the response, the making of the page and a slow reader included.
RESPONSE_SECONDS: Final = 10.0
# Connections at the same time, half as many as the node keeps descriptors free beside those of clients. A newcomer gets
# the place of the oldest one that hasn't said what it wants, or doesn't read: so a probe, which asks at once, is
# answered however many others say nothing.
PLACES: Final = 16
# Pages of metrics being made, one after the other: two or three Prometheus and somebody who looks. Others are told to
# come again.
SCRAPES: Final = 4
# Connections that the kernel keeps until they are accepted, which takes a fraction of a millisecond each.
BACKLOG: Final = 1024
# Pause after an accept that failed.
RETRY_SECONDS: Final = 0.1

log = structlog.get_logger()


class Page(Struct, frozen=True):
    """A page and its content type, as it stands in the header."""

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
    """Answers GET and HEAD. `ready()` says why this node should get no new clients, or nothing; `but()` says what
    operators should know of a node that is ready all the same.

    Not ready is 404, not 503: a balancer must keep the connections of a node that is alive. `metrics(accept)` makes the
    page /metrics. That takes time; the other pages are answered as soon as the request
    is there, whatever else goes on.
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
        """Answer on a listening socket until cancelled. Nothing that a peer does, and no shortage, gets out of here."""
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
        except OSError:  # it has gone again
            peer.close()

    async def _not_accepted(self, error: OSError) -> None:
        """No descriptor is left, or no memory: the node has others to serve meanwhile."""
        if error.errno == errno.ECONNABORTED:
            return
        self._unanswered.again(error=str(error))
        self._make_room()
        await anyio.sleep(RETRY_SECONDS)

    def opened(self, visit: "_Visit") -> None:
        """Somebody is there."""
        if len(self._open) >= PLACES:
            self._make_room()
        self._open[visit] = None

    def closed(self, visit: "_Visit") -> None:
        """It is gone."""
        self._open.pop(visit, None)

    def _make_room(self) -> None:
        idle = next((visit for visit in self._open if not visit.made_for), None)
        if idle is not None:
            idle.abort()

    def asked(self, visit: "_Visit", request: bytes) -> None:
        """A whole request came."""
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
        """The whole response to a whole request; None for a page that has to be `made`."""
        words = request.partition(b"\n")[0].split()
        if len(words) != 3 or not words[2].startswith(b"HTTP/"):
            return _say(400, "not HTTP")
        method, path = words[0], words[1].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _say(405, "only GET and HEAD")
        if path == b"/metrics":
            return None
        return _fit(method, self._look(path))

    def _look(self, path: bytes) -> bytes:
        if path == b"/healthz":
            return _say(200, "alive")
        if path == b"/readyz":
            why_not = self._ready()
            but = self._but()
            return _say(404, why_not) if why_not else _say(200, f"ready, but {but}" if but else "ready")
        return _say(404, "no such page")

    async def made(self, request: bytes) -> bytes:
        """The response with the metrics; one that says so where they can't be made."""
        try:
            response = _response(200, await self._metrics(_header(request, b"accept")))
        except Exception:  # a defect here must not end the node
            log.exception("page not made")
            response = _say(500, "page not made")
        return _fit(request.split(maxsplit=1)[0], response)


class _Visit(asyncio.Protocol):
    """One connection: one request, one response. `made_for`: the page is being made, so its place can't be taken."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._request = bytearray()
        self._asked = False
        self.made_for = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP is there."""
        self._transport = cast(asyncio.Transport, transport)
        self._allow(REQUEST_SECONDS)
        self._probes.opened(self)

    def _allow(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)

    def data_received(self, data: bytes) -> None:
        """More of the request came; what stands behind it is of no interest."""
        if self._asked:
            return
        self._request += data
        request = self._request
        if b"\r\n\r\n" in request or b"\n\n" in request or len(request) >= REQUEST_BYTES:
            self._asked = True
            self._transport.pause_reading()
            self._timer.cancel()
            self._allow(RESPONSE_SECONDS)
            self._probes.asked(self, bytes(request))

    def eof_received(self) -> bool:
        """The peer has said all that it had to say: whether it is still to be answered."""
        return self._asked

    def answer(self, response: bytes) -> None:
        """Say this and close, unless the peer has gone."""
        if not self._transport.is_closing():
            self._transport.write(response)
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._probes.closed(self)
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._timer.cancel()
        self._probes.closed(self)


def _header(request: bytes, name: bytes) -> str:
    """The value of a header; empty without one."""
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
    """What this method gets of it: for HEAD only the head."""
    return response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == b"HEAD" else response
