"""The terminal to write to, which may not be read for a while: a line that stalls, a window that is held still.

Whoever writes to it doesn't wait. So the connection is looked after meanwhile, and a signal ends the program.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TextIO, cast

import anyio
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.vt100 import Vt100_Output

from pairchat.stdio import LAST_WORDS

# Bytes that wait to be written: some hundred screens. Beyond that they are dropped, and all is drawn anew later.
AHEAD: Final = 1_048_576


class Paper:
    """As much of a text file as prompt_toolkit writes to."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout
        self.encoding = stdout.encoding
        self._fd = _opened_again(stdout.fileno())
        self._waiting = bytearray()
        self._dropped = False
        self._more = anyio.Event()  # set when something has to wait

    def output(self) -> Output:
        """What draws on this."""
        return Vt100_Output.from_pty(
            cast(TextIO, self), term=os.environ.get("TERM"), default_color_depth=ColorDepth.from_env()
        )

    def write(self, text: str) -> None:
        """Have this written with the next `flush`."""
        self._waiting += text.encode(self.encoding, "replace")

    def flush(self) -> None:
        """Write what can be written now. Raises OSError if the terminal is gone."""
        try:
            while self._waiting:
                del self._waiting[: os.write(self._fd, self._waiting)]
        except BlockingIOError:
            if len(self._waiting) > AHEAD:
                self._waiting.clear()
                self._dropped = True
            self._more.set()

    def fileno(self) -> int:
        """Of the terminal."""
        return self._stdout.fileno()

    def isatty(self) -> bool:
        """Whether it is one."""
        return self._stdout.isatty()

    async def serve(self, redraw: Callable[[], None]) -> None:
        """Write what has to wait, for ever; `redraw` where something was dropped. Raises OSError."""
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            await anyio.wait_writable(self._fd)
            self.flush()
            if self._dropped and not self._waiting:
                self._dropped = False
                redraw()

    async def close(self) -> None:
        """Write the rest, if that is possible soon. Nobody interrupts this."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(LAST_WORDS), suppress(OSError):
            while self._waiting:
                await anyio.wait_writable(self._fd)
                self.flush()
        os.close(self._fd)


def _opened_again(terminal: int) -> int:
    """A file of our own: to be without waiting is a property of the open file, which the shell and others share."""
    how = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with suppress(OSError):  # another user's, after `su`; or one that was made in another container
        return os.open(os.ttyname(terminal), how)
    with suppress(OSError):
        return os.open("/dev/tty", how)
    return os.dup(terminal)
