"""This module writes to the terminal without blocking.

A terminal may stop reading for a while, for example over a stalled line or when the user pauses it. Since nothing waits
for it, the connection is still served, and signals still end the program.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TextIO, cast

import anyio
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.vt100 import Vt100_Output

from pairchat.stdio import LAST_WORDS

# Bytes that may wait to be written, some hundred screens. More are dropped, and the screen is redrawn later.
AHEAD: Final = 1_048_576


class TerminalOutput:
    """The part of a text file's interface that prompt_toolkit writes to."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout
        self.encoding = stdout.encoding
        self._fd = _opened_again(stdout.fileno())
        self._waiting = bytearray()
        self._dropped = False
        self._more = anyio.Event()  # set when bytes are left to write

    def output(self) -> Output:
        """Return a prompt_toolkit output that draws on this terminal."""
        return Vt100_Output.from_pty(
            cast(TextIO, self), term=os.environ.get("TERM"), default_color_depth=ColorDepth.from_env()
        )

    def write(self, text: str) -> None:
        """Append text, which the next `flush` writes."""
        self._waiting += text.encode(self.encoding, "replace")

    def flush(self) -> None:
        """Write as much as the terminal accepts now. Raises OSError if the terminal is gone."""
        try:
            while self._waiting:
                del self._waiting[: os.write(self._fd, self._waiting)]
        except BlockingIOError:
            if len(self._waiting) > AHEAD:
                self._waiting.clear()
                self._dropped = True
            self._more.set()

    def fileno(self) -> int:
        """Return the file descriptor of the terminal."""
        return self._stdout.fileno()

    def isatty(self) -> bool:
        """Return True if it is a terminal."""
        return self._stdout.isatty()

    async def serve(self, redraw: Callable[[], None]) -> None:
        """Write the waiting bytes, for ever, and call `redraw` after some were dropped. Raises OSError."""
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            await anyio.wait_writable(self._fd)
            self.flush()
            if self._dropped and not self._waiting:
                self._dropped = False
                redraw()

    async def close(self) -> None:
        """Write the rest within `LAST_WORDS` seconds, if possible, and close. A cancellation doesn't interrupt this."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(LAST_WORDS), suppress(OSError):
            while self._waiting:
                await anyio.wait_writable(self._fd)
                self.flush()
        os.close(self._fd)


def _opened_again(terminal: int) -> int:
    """Open the terminal again, because O_NONBLOCK belongs to the open file, which the shell and others share."""
    how = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with suppress(OSError):  # it may be another user's, after `su`, or come from another container
        return os.open(os.ttyname(terminal), how)
    with suppress(OSError):
        return os.open("/dev/tty", how)
    return os.dup(terminal)
