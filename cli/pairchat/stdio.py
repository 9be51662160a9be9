"""Standard input and output without threads, so that a stuck neighbour in a pipe stops neither pings nor signals."""

import os
import select
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel

from pairchat.wire import MAX_LINE

_READ_BYTES = 65_536
# What a pipe takes at once when it says that it is writable; more could block the loop.
_WRITE_BYTES = select.PIPE_BUF


class LineTooLong(Exception):
    """A line of more bytes than the relay takes. It was skipped."""


class LineReader:
    """Lines from a file descriptor, read no faster than they are asked for. A last line needs no LF."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = bytearray()
        self._ended = False
        self._skipping = False

    def over(self) -> bool:
        """Whether the input is at its end already. Waits for nothing."""
        if not self._buffer and not self._ended and select.select([self._fd], [], [], 0)[0]:
            self._take(os.read(self._fd, _READ_BYTES))
        return self._ended and not self._buffer

    async def line(self) -> bytes | None:
        """The next line without its LF, or CR LF; None at the end. Raises `LineTooLong`; go on reading then."""
        while (end := self._buffer.find(b"\n")) < 0 and not self._ended:
            if len(self._buffer) > MAX_LINE:
                self._buffer.clear()
                self._skipping = True
            self._take(await _read(self._fd))
        if end < 0 and not self._buffer and not self._skipping:
            return None
        line = bytes(self._buffer[: end if end >= 0 else None])
        del self._buffer[: end + 1 if end >= 0 else None]
        if self._skipping or len(line) > MAX_LINE:
            self._skipping = False
            raise LineTooLong
        return line.removesuffix(b"\r")

    def _take(self, data: bytes) -> None:
        self._ended = not data
        self._buffer += data


async def write_all(fd: int, data: bytes) -> None:
    """Write everything; waits while the reader is slow. Raises BrokenPipeError if there is none any more."""
    view = memoryview(data)
    while view:
        await _ready(anyio.wait_writable, fd)
        try:
            view = view[os.write(fd, view[:_WRITE_BYTES]) :]
        except BlockingIOError:
            continue


async def _read(fd: int) -> bytes:
    while True:
        await _ready(anyio.wait_readable, fd)
        try:
            return os.read(fd, _READ_BYTES)
        except BlockingIOError:
            continue


async def _ready(wait: Callable[[int], Awaitable[None]], fd: int) -> None:
    try:
        await wait(fd)
    except PermissionError:
        await anyio.lowlevel.checkpoint()  # a plain file: always ready, and epoll won't have it
