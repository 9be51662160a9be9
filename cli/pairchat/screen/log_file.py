"""This module appends all texts and notices to a log file."""

import errno
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pairchat.escape import lines, word


class LogFile:
    """At most one open log file, readable by its owner only. Its text is escaped as on the screen."""

    def __init__(self) -> None:
        self._fd: int | None = None
        self.path = ""

    @property
    def open(self) -> bool:
        """True while there is a log file."""
        return self._fd is not None

    def start(self, name: str) -> None:
        """Open this file for appending, and close an earlier one. Raises OSError."""
        try:
            path = Path(name).expanduser()
            # Non-blocking, because a pipe may have no reader, or one that has stopped reading.
            how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
            fd = os.open(path, how, 0o600)
        except (RuntimeError, ValueError) as error:  # an unknown home folder, or a zero byte in the name
            raise OSError(errno.EINVAL, str(error)) from None
        self.stop()
        self._fd, self.path = fd, str(path)

    def stop(self) -> None:
        """Close the file, if there is one."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):  # nothing can be done about it
                os.close(fd)

    def said(self, who: str, text: str, at: datetime) -> None:
        """Append a text. Its further lines are indented. Raises OSError."""
        self._write(at, f"{word(who)}: ", lines(text))

    def happened(self, words: str, at: datetime) -> None:
        """Append a notice. Raises OSError."""
        self._write(at, "* ", lines(words))

    def _write(self, at: datetime, head: str, body: list[str]) -> None:
        if self._fd is None:
            return
        left = (f"{at:%Y-%m-%d %H:%M:%S} {head}" + "\n    ".join(body) + "\n").encode("utf-8", "backslashreplace")
        while left:
            left = left[os.write(self._fd, left) :]
