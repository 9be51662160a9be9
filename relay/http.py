"""`/healthz` and `/readyz` for load balancers and orchestrators, `/metrics` for Prometheus: no need for a framework."""

import socket
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import anyio.abc
import structlog
from anyio.abc import SocketStream

# A probe's request: one line and a few headers, sent at once.
REQUEST_BYTES: Final = 8192
REQUEST_SECONDS: Final = 5.0
# Pause after an accept that failed.
RETRY_SECONDS: Final = 0.1
# Probes at the same time; more wait in the kernel.
CONNECTIONS: Final = 64

log = structlog.get_logger()

Page = Callable[[str], Awaitable[tuple[str, bytes]]]

TEXT: Final = "text/plain; charset=utf-8"
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
}


class Probes:
    """Answers GET and HEAD. `ready()` says why this node should get no new clients, or nothing.

    Not ready is 404, not 503: a balancer must keep the connections of a node that is alive. `metrics(accept)` makes the
    page /metrics: its content type and its bytes.
    """

    def __init__(self, ready: Callable[[], str], metrics: Page) -> None:
        self._ready = ready
        self._metrics = metrics
        self._limit = anyio.CapacityLimiter(CONNECTIONS)

    async def serve(self, sock: socket.socket) -> None:
        """Answer on a listening socket until cancelled."""
        sock.listen(CONNECTIONS)
        async with await anyio.abc.SocketListener.from_socket(sock) as listener:
            while True:
                try:
                    await listener.serve(self.handle)
                except OSError as error:  # no file descriptor left: the node has others to serve meanwhile
                    log.warning("probe not answered", error=str(error))
                    await anyio.sleep(RETRY_SECONDS)

    async def handle(self, stream: SocketStream) -> None:
        """Answer one request and close. Nothing that a peer does gets out of here."""
        async with self._limit, stream:
            try:
                with anyio.move_on_after(REQUEST_SECONDS):
                    request = b""
                    while b"\r\n\r\n" not in request and b"\n\n" not in request and len(request) < REQUEST_BYTES:
                        request += await stream.receive(REQUEST_BYTES)
                    await stream.send(await self.answer(request))
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass

    async def answer(self, request: bytes) -> bytes:
        """The whole response to a whole request."""
        words = request.partition(b"\n")[0].split()
        if len(words) != 3 or not words[2].startswith(b"HTTP/"):
            return _say(400, "not HTTP")
        method, path = words[0], words[1].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _say(405, "only GET and HEAD")
        try:
            response = await self._look(path, request)
        except Exception:  # a defect here must not end the node
            log.exception("page not made")
            response = _say(500, "page not made")
        return response if method == b"GET" else response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    async def _look(self, path: bytes, request: bytes) -> bytes:
        if path == b"/healthz":
            return _say(200, "alive")
        if path == b"/readyz":
            why_not = self._ready()
            return _say(404, why_not) if why_not else _say(200, "ready")
        if path == b"/metrics":
            return _response(200, *await self._metrics(_header(request, b"accept")))
        return _say(404, "no such page")


def _header(request: bytes, name: bytes) -> str:
    """The value of a header; empty without one."""
    for line in request.splitlines()[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip().decode("latin-1")
    return ""


def _say(status: int, text: str) -> bytes:
    return _response(status, TEXT, text.encode() + b"\n")


def _response(status: int, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
