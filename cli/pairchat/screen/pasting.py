"""What is pasted stands between two marks. Where the second one is lost, everything typed later seems to be pasted."""

import time
from typing import Final, TextIO

from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.input.posix_utils import PosixStdinReader
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

BEGIN: Final = "\x1b[200~"
END: Final = "\x1b[201~"
# Seconds without a byte after which the end of a paste is taken for lost. One over a bad line may stall for a while,
# and what comes of it later counts as typed.
QUIET: Final = 3.0
_CTRL_C: Final = "\x03"  # alone in a read it is a key: terminals leave it out of what they paste


class PasteInput(Vt100Input):
    """The keyboard, where no paste goes on for ever."""

    def __init__(self, stdin: TextIO) -> None:
        super().__init__(stdin)
        ANSI_SEQUENCES[END] = Keys.Ignore  # one that comes late
        self.stdin_reader = self._reader = _Reader(stdin.fileno(), encoding=stdin.encoding)
        self._pasting = False
        self._tail = ""  # the end of what was read, which may be the beginning of a mark
        self._read_at = 0.0

    def read_keys(self) -> list[KeyPress]:
        """The keys that were pressed. Ctrl-C gives up a paste that doesn't end."""
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
        """A paste whose end was lost, as far as it came."""
        if not self._pasting or time.monotonic() - self._read_at < QUIET:
            return []
        self._pasting = False
        self.vt100_parser.feed(END)
        return self.flush_keys()


class _Reader(PosixStdinReader):
    """Knows what it read last."""

    latest = ""

    def read(self, count: int = 1024) -> str:
        self.latest = super().read(count)
        return self.latest
