"""A file that everything said is appended to."""

import os
from datetime import datetime
from pathlib import Path
from typing import IO

from pairchat.escape import lines, word


class Log:
    """One file at a time, readable by its owner only. What is written is escaped like the screen."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None
        self.path = ""

    @property
    def open(self) -> bool:
        """Whether there is one."""
        return self._file is not None

    def start(self, name: str) -> None:
        """Append to this file. Raises OSError."""
        self.stop()
        path = Path(name).expanduser()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._file, self.path = os.fdopen(fd, "a", encoding="utf-8", errors="backslashreplace"), str(path)

    def stop(self) -> None:
        """Close it, if there is one."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def said(self, who: str, text: str, at: datetime) -> None:
        """Add a text; its further lines are indented. Raises OSError."""
        self._write(at, f"{word(who)}: ", lines(text))

    def happened(self, words: str, at: datetime) -> None:
        """Add what happened. Raises OSError."""
        self._write(at, "* ", lines(words))

    def _write(self, at: datetime, head: str, body: list[str]) -> None:
        if self._file is not None:
            self._file.write(f"{at:%Y-%m-%d %H:%M:%S} {head}" + "\n    ".join(body) + "\n")
            self._file.flush()
