"""This module tracks whether the user looks at this terminal, and notifies by the bell or the desktop."""

import time
from base64 import b64encode
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.keys import Keys

from pairchat.escape import word

# Seconds without a key after which the user may be looking elsewhere, if the terminal doesn't report its focus.
IDLE: Final = 60.0
LONGEST: Final = 200  # characters of a notification

# Focus reports of terminals are mapped to keys that no keyboard has.
FOCUSED: Final = Keys.F23
UNFOCUSED: Final = Keys.F24
TELL_FOCUS: Final = "\x1b[?1004h"
KEEP_FOCUS: Final = "\x1b[?1004l"


class Notify(StrEnum):
    """How to notify."""

    OFF = "off"
    BELL = "bell"
    AUTO = "auto"  # the sequence that this terminal is known to understand
    OSC9 = "osc9"  # iTerm2, ConEmu, Windows Terminal
    OSC777 = "osc777"  # rxvt-unicode, foot, Ghostty, WezTerm, Konsole, VTE
    OSC99 = "osc99"  # kitty


_WITH_777: Final = ("foot", "rxvt", "ghostty", "wezterm", "konsole", "contour", "vte", "gnome")


def learn_focus_keys() -> None:
    """Make prompt_toolkit's input understand focus reports."""
    ANSI_SEQUENCES["\x1b[I"] = FOCUSED
    ANSI_SEQUENCES["\x1b[O"] = UNFOCUSED


def choose(how: Notify, environment: Mapping[str, str]) -> Notify:
    """Resolve `AUTO` for this terminal."""
    if how is not Notify.AUTO:
        return how
    term = environment.get("TERM", "")
    names = " ".join([term, *(environment.get(key, "") for key in ("TERM_PROGRAM", "LC_TERMINAL"))]).lower()
    if "KITTY_WINDOW_ID" in environment or "kitty" in names:
        return Notify.OSC99
    if "VTE_VERSION" in environment or any(name in names for name in _WITH_777):
        return Notify.OSC777
    return Notify.BELL if term in ("linux", "dumb", "") else Notify.OSC9


def sequence(how: Notify, title: str, body: str, environment: Mapping[str, str]) -> str:
    """Return the escape sequence for a notification. Title and body may hold any text."""
    title, body = _tame(title), _tame(body)
    match how:
        case Notify.OSC9:
            made = f"\x1b]9;{title}: {body}\x07"
        case Notify.OSC777:
            made = f"\x1b]777;notify;{title.replace(';', ',')};{body}\x07"
        case Notify.OSC99:
            parts = (("d=0", title), ("d=1:p=body", body))
            made = "".join(f"\x1b]99;i=pairchat:e=1:{how};{b64encode(t.encode()).decode()}\x1b\\" for how, t in parts)
        case _:
            return ""
    if "TMUX" in environment:  # tmux passes on a sequence in this wrapper if `allow-passthrough` is on
        made = "\x1bPtmux;" + made.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    return made


def _tame(text: str) -> str:
    return word(text.replace("\n", " "))[:LONGEST]


class Attention:
    """Tracks whether the user looks at the terminal."""

    def __init__(self) -> None:
        self._focused: bool | None = None  # None if this terminal has not reported its focus
        self._typed = time.monotonic()

    @property
    def here(self) -> bool:
        """True if the user probably sees what appears now."""
        if self._focused is None:
            return time.monotonic() - self._typed < IDLE
        return self._focused

    def typed(self) -> None:
        """Record that the user pressed a key."""
        self._typed = time.monotonic()

    def focus(self, on: bool) -> None:
        """Record a focus report of the terminal."""
        self._focused = on
