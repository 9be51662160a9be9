"""Standard input, output and error without threads, so that a stuck neighbour stops neither pings nor signals."""

import errno
import os
import select
import sys
from collections.abc import Awaitable, Callable
from io import TextIOWrapper
from typing import Final

import anyio
import anyio.lowlevel

from pairchat.wire import MAX_LINE

_READ_BYTES = 65_536
# What a pipe takes at once when it says that it is writable; more could block the loop.
_WRITE_BYTES = select.PIPE_BUF
# Bytes for standard error that wait while nobody reads it: all that a person would read afterwards.
_NOTICES_AHEAD: Final = 1_048_576
# Seconds that the last words wait for somebody to read them.
LAST_WORDS: Final = 1.0


def prepare() -> None:
    """Have all three streams open, and able to print anything.

    One that was closed at the start is /dev/null from now on: the next file that is opened would get its number, and
    be written to in its place.
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
        stream.reconfigure(errors="backslashreplace")  # a locale may not have what is to be printed


class StreamFailed(Exception):
    """Standard input can't be read, or standard output can't be written. `str()` is one line that says why."""


class ReaderGone(StreamFailed):
    """Whoever read standard output has had enough, as `head` has. That is no fault: nothing is to be said of it."""


class LineTooLong(Exception):
    """A line of more bytes than `limit`. It was skipped."""


class LineReader:
    """Lines of at most `limit` bytes from a file descriptor, read no faster than they are asked for.

    A last line needs no LF.
    """

    def __init__(self, fd: int) -> None:
        self.limit = MAX_LINE
        self._fd = fd
        self._buffer = bytearray()
        self._ended = False
        self._skipping = False

    def over(self) -> bool:
        """Whether the input is at its end already. Waits for nothing."""
        if not self._buffer and not self._ended and select.select([self._fd], [], [], 0)[0]:
            self._take(_read_now(self._fd))
        return self._ended and not self._buffer

    async def line(self) -> bytes | None:
        """The next line without its LF, or CR LF; None at the end. Raises `LineTooLong`; go on reading then."""
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
    """Write everything; waits while the reader is slow. Raises `StreamFailed`, also if there is none any more."""
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
        if error.errno == errno.EBADF:  # what `nohup` puts in the place of a terminal
            return b""
        raise StreamFailed(f"can't read the input: {error.strerror}") from None


async def _ready(wait: Callable[[int], Awaitable[None]], fd: int) -> None:
    try:
        await wait(fd)
    except PermissionError:
        await anyio.lowlevel.checkpoint()  # a plain file: always ready, and epoll won't have it


class Notices:
    """Lines on standard error. Nobody waits for whoever should read them: what isn't read in time is left out."""

    def __init__(self, fd: int = 2) -> None:
        self._fd = fd
        self._waiting = bytearray()
        self._left_out = 0
        self._more = anyio.Event()  # set when something has to wait

    def say(self, line: str) -> None:
        """Say it now if that is possible, later otherwise. It has to be safe to print."""
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
        """Say what has to wait, for ever."""
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            await self.said()

    async def said(self) -> None:
        """Wait until everything is said."""
        while self._waiting:
            await _ready(anyio.wait_writable, self._fd)
            self._flush()

    def _flush(self) -> None:
        while self._waiting and select.select([], [self._fd], [], 0)[1]:
            try:
                del self._waiting[: os.write(self._fd, self._waiting[:_WRITE_BYTES])]
            except BlockingIOError:
                return
            except OSError:  # there is no reader, or no room: nowhere to say so
                self._waiting.clear()
