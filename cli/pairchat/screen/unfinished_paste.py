"""This module ends pastes whose end mark was lost. Otherwise all later keys would count as pasted text."""

import time
from typing import Final, TextIO

from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.input.posix_utils import PosixStdinReader
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

BEGIN: Final = "\x1b[200~"
END: Final = "\x1b[201~"
# Seconds without a byte after which the end mark counts as lost. A paste over a bad line may stall for longer, and the
# rest of it then counts as typed.
QUIET: Final = 3.0
_CTRL_C: Final = "\x03"  # alone in a read it is a key, because terminals remove it from pasted text


class PasteInput(Vt100Input):
    """The keyboard input, in which every paste ends."""

    def __init__(self, stdin: TextIO) -> None:
        super().__init__(stdin)
        ANSI_SEQUENCES[END] = Keys.Ignore  # an end mark that arrives late
        self.stdin_reader = self._reader = _Reader(stdin.fileno(), encoding=stdin.encoding)
        self._pasting = False
        self._tail = ""  # the last characters read, which may be the beginning of a mark
        self._read_at = 0.0

    def read_keys(self) -> list[KeyPress]:
        """Return the keys that were pressed. Ctrl-C discards a paste that doesn't end."""
        was_pasting, self._read_at = self._pasting, time.monotonic()
        keys = super().read_keys()
        if was_pasting and self._reader.latest == _CTRL_C:
            self._pasting = False
            self.vt100_parser.reset()
            return keys
        seen = self._tail + self._reader.latest
        begun, ended = seen.rfind(BEGIN), seen.rfind(END)
        if begun != ended:
            self._pasting = begun > ended
        self._tail = seen[1 - len(END) :]
        return keys

    def overdue(self) -> list[KeyPress]:
        """Return the text so far of a paste whose end mark was lost, as keys."""
        if not self._pasting or time.monotonic() - self._read_at < QUIET:
            return []
        self._pasting = False
        self.vt100_parser.feed(END)
        return self.flush_keys()


class _Reader(PosixStdinReader):
    """A reader that keeps the text of its last read."""

    latest = ""

    def read(self, count: int = 1024) -> str:
        self.latest = super().read(count)
        return self.latest
