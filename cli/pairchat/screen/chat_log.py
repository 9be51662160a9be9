"""A file that everything said is appended to."""

import errno
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pairchat.escape import lines, word


class ChatLog:
    """One file at a time, readable by its owner only. What is written is escaped like the screen."""

    def __init__(self) -> None:
        self._fd: int | None = None
        self.path = ""

    @property
    def open(self) -> bool:
        """Whether there is one."""
        return self._fd is not None

    def start(self, name: str) -> None:
        """Append to this file, in place of another. Raises OSError."""
        try:
            path = Path(name).expanduser()
            # Without waiting: for the reader of a pipe that may never come, or reads no more.
            how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
            fd = os.open(path, how, 0o600)
        except (RuntimeError, ValueError) as error:  # no such home folder; a zero byte
            raise OSError(errno.EINVAL, str(error)) from None
        self.stop()
        self._fd, self.path = fd, str(path)

    def stop(self) -> None:
        """Close it, if there is one."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):  # nothing can be done about it
                os.close(fd)

    def said(self, who: str, text: str, at: datetime) -> None:
        """Add a text; its further lines are indented. Raises OSError."""
        self._write(at, f"{word(who)}: ", lines(text))

    def happened(self, words: str, at: datetime) -> None:
        """Add what happened. Raises OSError."""
        self._write(at, "* ", lines(words))

    def _write(self, at: datetime, head: str, body: list[str]) -> None:
        if self._fd is None:
            return
        left = (f"{at:%Y-%m-%d %H:%M:%S} {head}" + "\n    ".join(body) + "\n").encode("utf-8", "backslashreplace")
        while left:
            left = left[os.write(self._fd, left) :]
