"""Dialects, which parse bytes into commands and render events as bytes. All of them share the session code.

Nothing here does I/O or keeps a session's state. A dialect is one shared object, and a framer belongs to one
connection.
"""

from collections.abc import Iterable
from typing import Protocol

from relay.protocol.commands_and_events import Command, Event, Malformed, Say
from relay.protocol.dialects.classic import CLASSIC
from relay.protocol.dialects.framing import Framer, Line, LineFramer, RawFramer, TooLong
from relay.protocol.dialects.json import JSON
from relay.protocol.dialects.text import TEXT

__all__ = [
    "CLASSIC",
    "JSON",
    "TEXT",
    "Dialect",
    "Framer",
    "Line",
    "LineFramer",
    "RawFramer",
    "TooLong",
    "choose",
]


class Dialect(Protocol):
    """One encoding of commands and events. It is stateless, so that all connections share one object."""

    def parse(self, line: bytes, named: bool) -> Command:
        """Return the command in this line, as a framer returned it. Never raises: a malformed line is a `Malformed`.

        `named` says whether the connection owns a name already.
        """
        ...

    def too_long(self, mark: TooLong) -> Malformed:
        """Return the refusal of a line that was too long."""
        ...

    def more(self, said: Say, lines: Iterable[Line], most: int, room: int) -> list[str]:
        """Return the texts of the messages at the start of `lines` that continue `said`: the next ids, the same `chat`.

        They are at most `most` messages, whose lines have at most `room` bytes together. The first line that might be
        anything else ends them.
        """
        ...

    def render(self, event: Event) -> bytes:
        """Return the bytes of an event, for one write, or `b""` if this dialect doesn't have the event."""
        ...


def choose(start: bytes) -> Dialect:
    """Return the dialect of a connection on the shared port, by its first bytes. At least one byte is needed."""
    return JSON if start.startswith(b"{") else TEXT
