"""This module handles standard input, output and error without blocking, so that pings and signals always work."""

import errno
import os
import select
import sys
from collections.abc import Awaitable, Callable
from io import TextIOWrapper
from typing import Final

import anyio
import anyio.lowlevel

from pairchat.frame_decoder import MAX_LINE

_READ_BYTES = 65_536
# Bytes that a writable pipe accepts at once. A longer write could block the event loop.
_WRITE_BYTES = select.PIPE_BUF
# Bytes that wait for standard error while nobody reads it. This is as much as a person would read afterwards.
_NOTICES_AHEAD: Final = 1_048_576
# Seconds for which the last output waits for a reader when the program ends.
LAST_WORDS: Final = 1.0


def prepare() -> None:
    """Make all three streams open, and able to print any text.

    A stream that was closed at the start becomes /dev/null. Otherwise the next opened file would get its descriptor,
    and output would be written to that file.
    """
    for number, (name, how) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, how, closefd=False))  # noqa: SIM115  lives as long as the program
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, TextIOWrapper)
        stream.reconfigure(errors="backslashreplace")  # the locale's encoding may lack a character


class StreamFailed(Exception):
    """Standard input can't be read, or standard output can't be written. `str()` is one line that says why."""


class ReaderGone(StreamFailed):
    """The reader of standard output has stopped reading, as `head` does. That is no fault and is not reported."""


class LineTooLong(Exception):
    """A line had more than `limit` bytes and was skipped."""


class LineReader:
    """Reads lines of at most `limit` bytes from a file descriptor, and only when a line is requested.

    The last line needs no LF.
    """

    def __init__(self, fd: int) -> None:
        self.limit = MAX_LINE
        self._fd = fd
        self._buffer = bytearray()
        self._ended = False
        self._skipping = False

    def over(self) -> bool:
        """Return True if the input has ended already. It does not wait."""
        if not self._buffer and not self._ended and select.select([self._fd], [], [], 0)[0]:
            self._take(_read_now(self._fd))
        return self._ended and not self._buffer

    async def line(self) -> bytes | None:
        """Return the next line without its LF or CR LF, or None at the end.

        Raises `LineTooLong`, after which reading may go on, and `StreamFailed`.
        """
        while (end := self._buffer.find(b"\n")) < 0 and not self._ended:
            if len(self._buffer) > self.limit:
                self._buffer.clear()
                self._skipping = True
            self._take(await _read(self._fd))
        if end < 0 and not self._buffer and not self._skipping:
            return None
        line = bytes(self._buffer[: end if end >= 0 else None])
        del self._buffer[: end + 1 if end >= 0 else None]
        if self._skipping or len(line) > self.limit:
            self._skipping = False
            raise LineTooLong
        return line.removesuffix(b"\r")

    def _take(self, data: bytes) -> None:
        self._ended = not data
        self._buffer += data


async def write_all(fd: int, data: bytes) -> None:
    """Write everything, and wait while the reader is slow. Raises `StreamFailed`, and `ReaderGone` without a reader."""
    view = memoryview(data)
    while view:
        await _ready(anyio.wait_writable, fd)
        try:
            view = view[os.write(fd, view[:_WRITE_BYTES]) :]
        except BlockingIOError:
            continue
        except BrokenPipeError:
            raise ReaderGone("nobody reads the output any more") from None
        except OSError as error:
            raise StreamFailed(f"can't write the output: {error.strerror}") from None


async def _read(fd: int) -> bytes:
    while True:
        await _ready(anyio.wait_readable, fd)
        try:
            return _read_now(fd)
        except BlockingIOError:
            continue


def _read_now(fd: int) -> bytes:
    try:
        return os.read(fd, _READ_BYTES)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno == errno.EBADF:  # `nohup` replaces a terminal by a file that can't be read
            return b""
        raise StreamFailed(f"can't read the input: {error.strerror}") from None


async def _ready(wait: Callable[[int], Awaitable[None]], fd: int) -> None:
    try:
        await wait(fd)
    except PermissionError:
        await anyio.lowlevel.checkpoint()  # epoll does not accept a plain file, which is always ready


class Notices:
    """Writes lines to standard error without waiting for a reader. Lines beyond the buffer's size are left out."""

    def __init__(self, fd: int = 2) -> None:
        self._fd = fd
        self._waiting = bytearray()
        self._left_out = 0
        self._more = anyio.Event()  # set when bytes are left to write

    def say(self, line: str) -> None:
        """Write a line now if that is possible, and later otherwise. The line must be safe to print."""
        if len(self._waiting) > _NOTICES_AHEAD:
            self._left_out += 1
            return
        if self._left_out:
            line, self._left_out = f"* {self._left_out} lines were left out here, because nobody read.\n{line}", 0
        self._waiting += f"{line}\n".encode(sys.stderr.encoding, "backslashreplace")
        self._flush()
        if self._waiting:
            self._more.set()

    async def serve(self) -> None:
        """Write the waiting lines, for ever."""
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            await self.said()

    async def said(self) -> None:
        """Write until no line waits."""
        while self._waiting:
            await _ready(anyio.wait_writable, self._fd)
            self._flush()

    def _flush(self) -> None:
        while self._waiting and select.select([], [self._fd], [], 0)[1]:
            try:
                del self._waiting[: os.write(self._fd, self._waiting[:_WRITE_BYTES])]
            except BlockingIOError:
                return
            except OSError:  # there is no reader or no room, and nowhere to report it
                self._waiting.clear()
