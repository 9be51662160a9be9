"""A pseudo-terminal whose screen a test can read."""

import fcntl
import os
import select
import signal
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pyte
from wcwidth import wcwidth

from tests.cli.children import Launch, fresh
from tests.cli.home import Home
from tests.cli.scripted import PATIENCE


def columns_before(line: str, text: str) -> int:
    """Return the column at which a text begins. pyte leaves an empty cell after each wide character."""
    return sum(max(0, wcwidth(character)) for character in line[: line.index(text)])


class Terminal:
    """`pairchat` in its own terminal. Its output is drawn on `screen`."""

    def __init__(
        self,
        *args: str,
        server: str,
        columns: int = 80,
        rows: int = 24,
        home: Home | None = None,
        launch: Launch = fresh,
        **variables: str,
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""  # all output, unchanged
        self.home = home or Home()
        variables = {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", **variables}
        environment = self.home.environment(server, **variables)
        self.fd, inside = os.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._child = launch(args, environment, (inside, inside, inside), True)
        os.close(inside)

    def type(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def paste(self, text: str) -> None:
        """Return the bytes that a terminal sends for a paste."""
        self.type(f"\x1b[200~{text}\x1b[201~")

    def wheel(self, notches: int) -> None:
        """Turn the mouse wheel over the history, upwards if the number is positive."""
        self.type(f"\x1b[<{64 if notches > 0 else 65};5;3M" * abs(notches))

    def focus(self, on: bool) -> None:
        """Report that the window has the focus, or has lost it."""
        self.type("\x1b[I" if on else "\x1b[O")

    def resize(self, columns: int, rows: int) -> None:
        """Change the window's size."""
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._child.send_signal(signal.SIGWINCH)

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    @property
    def typed(self) -> str:
        """Return the text in the input line, or in its last row if there are several."""
        return next((line for line in reversed(self.lines) if line), "")

    @property
    def bar(self) -> str:
        """Return the status bar: the row that ends with the state of the connection."""
        return next((line for line in reversed(self.lines) if line.endswith(("●", "○"))), "")

    def colour(self, text: str) -> str:
        """Return the colour of this text on the screen."""
        for number, line in enumerate(self.screen.display):
            if text in line:
                cell = self.screen.buffer[number][columns_before(line, text)]
                return str(cell.fg)
        raise AssertionError(f"not on the screen: {text}")

    def wait_bar(self, text: str) -> list[str]:
        return self.wait(lambda _: text in self.bar, f"{text} in the bar")

    def wait_typed(self, text: str) -> list[str]:
        return self.wait(lambda _: self.typed == text, f"{text!r} in the input")

    @property
    def lines(self) -> list[str]:
        """Return the lines on the screen, without trailing white space and empty lines at the end."""
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def wait(self, condition: Callable[[list[str]], object], what: str) -> list[str]:
        """Draw until the lines on the screen satisfy the condition."""
        deadline = time.monotonic() + PATIENCE
        while not condition(self.lines):
            left = deadline - time.monotonic()
            assert left > 0, f"never seen: {what}\n" + "\n".join(self.lines)
            assert self._draw(left), f"it ended without: {what}\n" + "\n".join(self.lines)
        return self.lines

    def wait_for(self, text: str) -> list[str]:
        return self.wait(lambda lines: any(text in line for line in lines), text)

    def status(self) -> int:
        """Wait for the end of the program, and return its exit status."""
        while self._draw(PATIENCE):
            pass
        return self._child.wait(PATIENCE)

    def hang_up(self) -> int:
        """Close the terminal, as when its window is closed. Returns the exit status."""
        with Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), self.fd)
        return self._child.wait(PATIENCE)

    def terminate(self) -> None:
        self._child.send_signal(signal.SIGTERM)

    def _draw(self, patience: float) -> bool:
        """Draw the output of the next `patience` seconds. Returns False once the program has ended and all is drawn."""
        if not select.select([self.fd], [], [], patience)[0]:
            return self._child.poll() is None
        try:
            data = os.read(self.fd, 65_536)
        except OSError:  # EIO: no process has the terminal open any more
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        os.close(self.fd)
        self.home.close()
