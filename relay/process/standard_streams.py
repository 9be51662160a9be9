"""Prepares the standard streams of a command: all three are open, and a failed write causes no traceback.

A process may be started with descriptors 0 to 2 closed (`2>&-`, some init systems and schedulers). The next file or
socket that it opens would then get one of these numbers: a library's message would go to a client, and libuv aborts
when it closes one.
"""

import io
import os
import select
import sys
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDIN, STDOUT, STDERR = range(3)
# With this error handler, names can be written in any encoding. JSON is ASCII anyway.
_ERRORS: Final = "backslashreplace"


class OutputLost(Exception):
    """Standard output can't be written, for example because the disk is full. The message says why."""


class ReaderGone(OutputLost):
    """The reader of standard output has closed it, as `head` does. This is no error, and needs no message."""


def prepare() -> None:
    """Make the standard streams safe to use. Call it before anything else opens a file or a socket."""
    open_missing()
    if sys.stdin is None:
        sys.stdin = open(STDIN, closefd=False)  # noqa: SIM115  it stays open while the process runs
    sys.stdout = _text(_Output(STDOUT, "wb", closefd=False), sys.stdout)
    sys.stderr = _text(_Errors(STDERR, "wb", closefd=False), sys.stderr)


def open_missing() -> None:
    """Open /dev/null in place of each closed standard descriptor. Child processes inherit it."""
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            os.set_inheritable(opened, True)


def give_up_output() -> None:
    """Redirect standard output to /dev/null, including the data still in its buffer."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, STDOUT)
    os.close(null)


def _text(raw: io.FileIO, instead_of: TextIO | None) -> TextIO:
    encoding = None if instead_of is None else instead_of.encoding
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors=_ERRORS, line_buffering=True)


class _Output(io.FileIO):
    """Standard output. A failed write raises OutputLost, which can be distinguished from any other OSError."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            # write() returns None if another process made the terminal or pipe non-blocking, and it is full.
            while (written := super().write(data)) is None:
                select.select([], [self], [])
        except BrokenPipeError as error:
            raise ReaderGone(error.strerror) from None
        except OSError as error:
            raise OutputLost(error.strerror or str(error)) from None
        return written


class _Errors(io.FileIO):
    """Standard error. Data that can't be written is dropped, because there is nowhere else to report it."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None
        return memoryview(data).nbytes if written is None else written
