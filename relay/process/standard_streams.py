"""The standard streams of a command: all three are open, whatever it was started with, and a failed write is no trace.

A process may be started with descriptors 0 to 2 closed (`2>&-`, some init systems and schedulers). The next file or
socket that it opened would then be one of them: a library's message would go to a client, and libuv aborts when it
closes one.
"""

import io
import os
import select
import sys
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDIN, STDOUT, STDERR = range(3)
# Names can be written in any encoding this way; JSON is ASCII anyway.
_ERRORS: Final = "backslashreplace"


class OutputLost(Exception):
    """Standard output can't be written: a full disk, say. `str()` says why."""


class ReaderGone(OutputLost):
    """Whoever read standard output has had enough, as `head` has. That is no fault: nothing is to be said of it."""


def prepare() -> None:
    """Make the standard streams safe to use. Call it before anything else opens a file or a socket."""
    open_missing()
    if sys.stdin is None:
        sys.stdin = open(STDIN, closefd=False)  # noqa: SIM115  open for as long as the process runs
    sys.stdout = _text(_Output(STDOUT, "wb", closefd=False), sys.stdout)
    sys.stderr = _text(_Errors(STDERR, "wb", closefd=False), sys.stderr)


def open_missing() -> None:
    """Open /dev/null in the place of each standard descriptor that is closed; child processes inherit it."""
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(opened, True)


def give_up_output() -> None:
    """Let what is still buffered for standard output, and whatever follows, go nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, STDOUT)
    os.close(null)


def _text(raw: io.FileIO, instead_of: TextIO | None) -> TextIO:
    encoding = None if instead_of is None else instead_of.encoding
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors=_ERRORS, line_buffering=True)


class _Output(io.FileIO):
    """Standard output. A write that fails raises OutputLost, so that it can be told from any other OSError."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            # None: somebody else made the terminal or pipe non-blocking, and it is full.
            while (written := super().write(data)) is None:
                select.select([], [self], [])
        except BrokenPipeError as error:
            raise ReaderGone(error.strerror) from None
        except OSError as error:
            raise OutputLost(error.strerror or str(error)) from None
        return written


class _Errors(io.FileIO):
    """Standard error. What can't be written is dropped: there is nowhere else to say so."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None
        return memoryview(data).nbytes if written is None else written
