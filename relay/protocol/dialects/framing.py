"""Framing: cuts the chunks that a socket returns into the lines that a dialect parses, in bounded memory."""

from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from relay.protocol.commands_and_events import EndOfStream, Malformed
from relay.protocol.errors import Code
from relay.protocol.frame_errors import NOTHING, About

# The part of a too long line that is kept. It holds the type and the id of a frame that begins with them.
BEGINNING_BYTES: Final = 256


class TooLong(Struct, frozen=True):
    """Takes the place of a line longer than `limit` bytes. Only the line's beginning is kept."""

    limit: int
    beginning: bytes = b""  # at most `BEGINNING_BYTES` and `limit`, however the reads were split


Line = bytes | TooLong | EndOfStream  # the entries of a connection's queue


def too_long(mark: TooLong, about: About = NOTHING) -> Malformed:
    """Return the refusal of the line."""
    return Malformed(Code.TOO_LONG, f"line too long: at most {mark.limit} bytes", about)


class Framer(Protocol):
    """Cuts a byte stream into lines."""

    limit: int  # bytes that a line may hold, its end not counted

    @property
    def half(self) -> int:
        """Bytes of the partial line."""
        ...

    def bound(self, limit: int) -> Sequence[bytes | TooLong]:
        """Set the limit of lines in bytes. Returns a `TooLong` if the partial line exceeds it already."""
        ...

    def feed(self, data: bytes) -> Sequence[bytes | TooLong]:
        """Return the lines that `data` completes, in order, without their line ends."""
        ...

    def eof(self) -> None:
        """Drop the partial line at the end of the stream: without a line end it isn't a line."""
        ...


class LineFramer:
    """Cuts lines at LF, and drops a CR before it. A line has at most `limit` bytes without its end.

    A longer line is returned as one `TooLong` as soon as it exceeds the limit, and the rest of it, up to its LF, is
    skipped. Between calls at most `limit` + 1 bytes are kept, whatever the peer sends.
    """

    __slots__ = ("_rest", "_skipping", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # The partial line grows in place, so that single bytes cost no copies. Most clients have none.
        self._rest: bytearray | bytes = b""
        self._skipping = False  # the partial line was too long and has been reported

    def feed(self, data: bytes) -> Sequence[bytes | TooLong]:
        """Return the lines that `data` completes, and a `TooLong` in place of each line over the limit."""
        if not self._rest and not self._skipping and len(data) <= self.limit and data.find(b"\r") < 0:  # nearly always
            lines = data.split(b"\n")
            if rest := lines.pop():
                self._rest = bytearray(rest)
            return lines
        if self._rest or self._skipping:
            if data.find(b"\n") < 0:  # find takes half the time of `in`, which first tries to get an integer
                return self._keep(data)
            data = data[data.index(b"\n") + 1 :] if self._skipping else bytes(self._rest) + data
            self.eof()
        *whole, rest = data.split(b"\n")
        over = self._keep(rest) if rest else []
        if data.find(b"\r") >= 0:
            whole = [line.removesuffix(b"\r") for line in whole]
        if len(data) <= self.limit:  # then no line in it exceeds the limit
            return [*whole, *over]
        return [*(line if len(line) <= self.limit else _cut(line, self.limit) for line in whole), *over]

    def eof(self) -> None:
        """Drop the partial line."""
        self._rest = b""
        self._skipping = False

    @property
    def half(self) -> int:
        """Bytes of the partial line."""
        return len(self._rest)

    def bound(self, limit: int) -> Sequence[bytes | TooLong]:
        """Set the limit of lines in bytes. Returns a `TooLong` if the partial line exceeds it already."""
        self.limit = limit
        rest, self._rest = bytes(self._rest), b""
        return self._keep(rest)

    def _keep(self, rest: bytes) -> list[bytes | TooLong]:
        """Keep more of the partial line, or return its `TooLong`. A byte over the limit may be the CR of its end."""
        if self._skipping or not rest:
            return []
        size = len(self._rest) + len(rest)
        if size <= self.limit or (size == self.limit + 1 and rest.endswith(b"\r")):
            if self._rest:
                self._rest += rest
            else:
                self._rest = bytearray(rest)
            return []
        beginning = self._rest[:BEGINNING_BYTES] + rest[:BEGINNING_BYTES]
        self._rest = b""
        self._skipping = True
        return [_cut(beginning, self.limit)]


class RawFramer:
    """Takes the bytes of each read for one line, because the original client doesn't end its lines.

    One LF at the end is dropped with a CR before it, because `nc` sends them.
    """

    __slots__ = ("limit",)
    half = 0

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def bound(self, limit: int) -> Sequence[bytes | TooLong]:
        """Set the limit of lines in bytes. There is never a partial line that could exceed it."""
        self.limit = limit
        return []

    def feed(self, data: bytes) -> Sequence[bytes | TooLong]:
        """Return the bytes as one line."""
        if not data:
            return []
        line = data.removesuffix(b"\n").removesuffix(b"\r")
        return [line if len(line) <= self.limit else _cut(line, self.limit)]

    def eof(self) -> None:
        """Do nothing: there is never a partial line to drop."""


def _cut(line: bytes | bytearray, limit: int) -> TooLong:
    return TooLong(limit, bytes(line[: min(limit, BEGINNING_BYTES)]))
