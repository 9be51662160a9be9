"""Dialects: the bytes of one connection to commands, events to bytes. Three languages, one session core.

Nothing here does I/O or keeps a session's state: a dialect is one shared object; a framer belongs to one
connection.
"""

from collections.abc import Iterable
from typing import Protocol

from relay.protocol.dialects.classic import CLASSIC
from relay.protocol.dialects.framing import Framer, Line, LineFramer, RawFramer, TooLong
from relay.protocol.dialects.json import JSON
from relay.protocol.dialects.text import TEXT
from relay.protocol.events import Command, Event, Malformed, Say

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
    """One way to write commands and events. Stateless, so that all connections may share it."""

    def parse(self, line: bytes, named: bool) -> Command:
        """What the client asks for with this line, as a framer returned it; never raises.

        `named` says whether the connection owns a name already. What can't be understood is a `Malformed`.
        """
        ...

    def too_long(self, mark: TooLong) -> Malformed:
        """The refusal to give in the place of a line that was too long."""
        ...

    def more(self, said: Say, lines: Iterable[Line], most: int, room: int) -> list[str]:
        """The texts of the messages at the start of `lines` that follow on `said`: the next ids, the same `chat`.

        At most so many, whose lines hold at most `room` bytes together. A line behind them is anything else: what
        isn't sure to be such a message is not one.
        """
        ...

    def render(self, event: Event) -> bytes:
        """The bytes that tell the client of `event`: one write; `b""` if this dialect doesn't tell it."""
        ...


def choose(start: bytes) -> Dialect:
    """The dialect of a connection on the shared port, by the first bytes that came; at least one is needed."""
    return JSON if start.startswith(b"{") else TEXT
