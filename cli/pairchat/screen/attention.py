"""Whether the user looks at this terminal, and how to call: the bell, and notifications of the desktop."""

import time
from base64 import b64encode
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.keys import Keys

from pairchat.escape import word

# A terminal that never told of its focus: whoever hasn't typed for so many seconds may be looking elsewhere.
IDLE: Final = 60.0
LONGEST: Final = 200  # characters of a notification

# Sequences by which terminals tell of their focus, as keys that no keyboard has.
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
    """Have the input understand what terminals say of their focus."""
    ANSI_SEQUENCES["\x1b[I"] = FOCUSED
    ANSI_SEQUENCES["\x1b[O"] = UNFOCUSED


def choose(how: Notify, environment: Mapping[str, str]) -> Notify:
    """What `AUTO` means in this terminal."""
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
    """What to write to the terminal. Title and body may hold anything."""
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
    if "TMUX" in environment:  # which hands on what is wrapped like this, if `allow-passthrough` is on
        made = "\x1bPtmux;" + made.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    return made


def _tame(text: str) -> str:
    return word(text.replace("\n", " "))[:LONGEST]


class Attention:
    """Knows whether the user looks."""

    def __init__(self) -> None:
        self._focused: bool | None = None  # None: this terminal never said
        self._typed = time.monotonic()

    @property
    def here(self) -> bool:
        """Whether the user sees what appears now."""
        if self._focused is None:
            return time.monotonic() - self._typed < IDLE
        return self._focused

    def typed(self) -> None:
        """The user pressed a key."""
        self._typed = time.monotonic()

    def focus(self, on: bool) -> None:
        """The terminal told of its focus."""
        self._focused = on
