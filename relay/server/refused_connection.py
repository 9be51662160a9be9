"""A connection for which there is no room: a browser is told so, and everybody else is closed without a word."""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from msgspec import Struct

from relay.web.answers import refusal
from relay.web.first_line import FirstLine, Speaks

# A browser sends its request at once. So long such a connection is kept, its answer included.
REFUSED_SECONDS: Final = 1.0
# This many of them are kept at the same time; all further ones are closed at once. They take 2 KB each.
REFUSED_AT_ONCE: Final = 64
READ_BYTES: Final = 1024


class Refusal(Struct, frozen=True):
    """Why there is no room, as the status and the reason of an HTTP answer."""

    status: int
    reason: str


class RefusedConnection(asyncio.BufferedProtocol):
    """See the module. `left` is called once the connection is gone."""

    def __init__(self, why: Refusal, left: Callable[[], None]) -> None:
        self._why = why
        self._left = left
        self._first = FirstLine(READ_BYTES)
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first line."""
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(REFUSED_SECONDS, self._transport.close)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer for the next read."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Answer once the first line is an HTTP request's. What follows is read and dropped, see `HttpExchange`."""
        if self._answered:
            return
        self._first.feed(bytes(self._buffer[:nbytes]))
        speaks = self._first.look()
        if speaks is Speaks.LINES:
            self._transport.abort()
        elif speaks is Speaks.HTTP:
            self._answered = True
            method = self._first.take().split(maxsplit=1)[0].decode("latin-1")
            self._transport.write(refusal(self._why.status, self._why.reason, method=method))
            self._transport.write_eof()  # or the client would wait for more

    def eof_received(self) -> bool:
        """Have the transport closed."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting the connection."""
        self._timer.cancel()
        self._left()
