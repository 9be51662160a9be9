"""This module draws the status bar, with the partner on the left and the connection on the right."""

import time
from dataclasses import dataclass, field

from prompt_toolkit.formatted_text import StyleAndTextTuples

from pairchat.client import Chat
from pairchat.escape import word
from pairchat.screen.wrap_and_fit import columns, fit, normalize_widths

SPINNING = 0.5  # seconds between two redraws while something counts down


@dataclass
class Partner:
    """The known state of the partner."""

    name: str = ""
    away_until: float | None = None  # monotonic
    typing_until: float = 0.0  # monotonic
    calling: str = ""  # the name that we are calling

    def gone(self) -> None:
        """Record that there is no partner any more."""
        self.name, self.away_until, self.typing_until = "", None, 0.0

    def here(self, name: str) -> None:
        """Record a partner who is present."""
        self.name, self.away_until, self.typing_until = name, None, 0.0


@dataclass
class StatusBar:
    """The state that the bar shows."""

    chat: Chat | None = None
    partner: Partner = field(default_factory=Partner)
    unseen: int = 0
    scrolled: bool = False

    @property
    def counting(self) -> bool:
        """True while the bar changes with time."""
        now = time.monotonic()
        return self.partner.away_until is not None or self.partner.typing_until > now or not self._online

    @property
    def _online(self) -> bool:
        return self.chat is not None and self.chat.online

    def bar(self, width: int) -> StyleAndTextTuples:
        """Return one row of `width` columns. If it is too short, the server's name is left out first."""
        left = normalize_widths(self._left())
        right = self._right(word(self.chat.server) if self.chat is not None else "")
        if columns(left) + _width(right) > width:
            right = self._right("")
        room = max(0, width - _width(right))
        left = fit(left, max(0, room - 1))
        return [("class:bar", left + " " * (room - columns(left))), *right]

    def _left(self) -> str:
        if self.chat is None or self.chat.name is None:
            return " no name yet"
        parts = [f" {word(self.chat.name)}", self._presence()]
        if self.scrolled:
            parts.append(f"↓ {self.unseen} new, End shows" if self.unseen else "scrolled back, End shows the latest")
        return " │ ".join(parts)

    def _presence(self) -> str:
        partner, now = self.partner, time.monotonic()
        name = word(partner.name)
        if partner.calling:
            return f"calling {word(partner.calling)}…"
        if not partner.name:
            return "nobody yet: /to NAME"
        if not self._online:
            return name  # without a connection the partner's state is unknown
        if partner.away_until is not None:
            left = max(0, round(partner.away_until - now))
            return f"{name} is away, {left} s to come back"
        if partner.typing_until > now:
            return f"{name} is typing…"
        return f"{name} is here"

    def _right(self, server: str) -> StyleAndTextTuples:
        chat = self.chat
        if chat is None:
            return []
        count = len(chat.pending)
        waiting = f"{count} unacknowledged │ " if count and server else f"{count}· " if count else ""
        space = " " if server else ""
        if chat.online:
            return [("class:bar", f"{waiting}{server}{space}"), ("class:bar class:bar.good", "●")]
        tries = f", try {chat.tries}" if chat.tries > 1 else ""
        server = f": {server} " if server else " "
        return [("class:bar class:bar.bad", f"{waiting}connecting{tries}{server}○")]


def _width(fragments: StyleAndTextTuples) -> int:
    return sum(columns(fragment[1]) for fragment in fragments)
