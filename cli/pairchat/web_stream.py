"""This module is a stream of lines over WebSocket."""

from contextlib import suppress
from typing import Self

import anyio
from anyio.abc import ByteStream

from pairchat.address import WebAddress
from pairchat.errors import NotARelay
from pairchat.stream_errors import BROKEN, Closed
from pairchat.web_lines import WebLines

CLOSE_WAIT = 1.0  # seconds for the server's part of the closing handshake


class WebStream(ByteStream):
    """Lines over WebSocket, each of them a message. It is read by one task and written by one.

    `receive` may return nothing, after a control frame.
    """

    def __init__(self, stream: ByteStream, lines: WebLines, heard: bytes) -> None:
        self._stream = stream
        self._lines = lines
        self._heard = heard  # lines that came with the answer to the handshake
        self._turn = anyio.Lock()  # for sending, which the reader does too, to answer pings
        self._ended = False  # the end of the stream below was read

    @classmethod
    async def open(cls, stream: ByteStream, server: WebAddress) -> Self:
        """Do the opening handshake. Raises `ConnectionFailed`, and the errors of the stream."""
        lines, heard = WebLines(server), b""
        await stream.send(lines.take_owed())
        while not lines.open:
            try:
                heard = lines.feed(await stream.receive())
            except anyio.EndOfStream:
                lines.end()
        return cls(stream, lines, heard)

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """Return the lines that come next. Raises `Closed` after a close frame."""
        if self._heard:
            heard, self._heard = self._heard, b""
            return heard
        if (close := self._lines.closed) is not None:
            raise Closed(close.code, close.reason)
        heard = await self._take(max_bytes)
        if self._lines.owed and not self._turn.locked():  # otherwise the writer sends it too
            await self.send(b"")
        return heard

    async def _take(self, max_bytes: int = 65_536) -> bytes:
        try:
            return self._lines.feed(await self._stream.receive(max_bytes))
        except anyio.EndOfStream:
            self._ended = True
            raise

    async def send(self, item: bytes) -> None:
        """Send these lines, and what is owed."""
        async with self._turn:
            if item and not self._lines.may_send:
                raise anyio.BrokenResourceError
            data = self._lines.frames(item)
            while data or self._lines.owed:
                owed = self._lines.take_owed()
                try:
                    await self._stream.send(data + owed)
                except anyio.get_cancelled_exc_class():
                    self._lines.owed = owed + self._lines.owed  # it may hold our close frame
                    raise
                data = b""

    async def send_eof(self) -> None:
        """Close frames end a WebSocket."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Do the closing handshake, for `CLOSE_WAIT` seconds at most, and close the connection."""
        try:
            with anyio.move_on_after(CLOSE_WAIT), suppress(OSError, *BROKEN, NotARelay):
                self._lines.close()
                while not self._ended:
                    await self.send(b"")
                    await self._take()
        finally:
            await anyio.aclose_forcefully(self._stream)
