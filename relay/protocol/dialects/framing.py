"""From the chunks that a socket happens to return to the lines that a dialect parses, in bounded memory."""

from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from relay.protocol.errors import Code
from relay.protocol.events import EndOfStream, Malformed
from relay.protocol.frame_errors import NOTHING, About

# What is kept of a line that is too long: enough for the type and the id of a frame that names them first.
BEGINNING_BYTES: Final = 256


class TooLong(Struct, frozen=True):
    """Stands where a line longer than `limit` bytes was. Of the line only the beginning is left."""

    limit: int
    beginning: bytes = b""  # `BEGINNING_BYTES` at most, and no more than `limit`, wherever the reads were cut


Line = bytes | TooLong | EndOfStream  # what a connection has to handle, in order


def too_long(mark: TooLong, about: About = NOTHING) -> Malformed:
    """The refusal to give in the place of the line."""
    return Malformed(Code.TOO_LONG, f"line too long: at most {mark.limit} bytes", about)


class Framer(Protocol):
    """Cuts a byte stream into lines."""

    limit: int  # bytes that a line may hold, its end not counted

    @property
    def half(self) -> int:
        """Bytes of the line that isn't whole yet."""
        ...

    def bound(self, limit: int) -> Sequence[bytes | TooLong]:
        """Lines may hold so much from now on, the unfinished one included: it may be too long already."""
        ...

    def feed(self, data: bytes) -> Sequence[bytes | TooLong]:
        """The lines that `data` completes, in order, without their line ends."""
        ...

    def eof(self) -> None:
        """The stream is over: what has no line end is not a line, and is forgotten."""
        ...


class LineFramer:
    """Lines end in LF; a CR before it is dropped. A line holds at most `limit` bytes, its end not counted.

    A longer line is one `TooLong`, as soon as it is seen to be too long; the rest of it, up to its LF, is skipped.
    Between calls at most `limit` + 1 bytes are kept, whatever the peer sends.
    """

    __slots__ = ("_rest", "_skipping", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # The unfinished line. It grows in place, so that single bytes cost no copies; most clients have none.
        self._rest: bytearray | bytes = b""
        self._skipping = False  # the unfinished line was too long and has been reported

    def feed(self, data: bytes) -> Sequence[bytes | TooLong]:
        """See `Framer`."""
        if not self._rest and not self._skipping and len(data) <= self.limit and data.find(b"\r") < 0:  # nearly always
            lines = data.split(b"\n")
            if rest := lines.pop():
                self._rest = bytearray(rest)
            return lines
        if self._rest or self._skipping:
            if data.find(b"\n") < 0:  # find, here and below: half the time of `in`, which first tries for an integer
                return self._keep(data)
            data = data[data.index(b"\n") + 1 :] if self._skipping else bytes(self._rest) + data
            self.eof()
        *whole, rest = data.split(b"\n")
        over = self._keep(rest) if rest else []
        if data.find(b"\r") >= 0:
            whole = [line.removesuffix(b"\r") for line in whole]
        if len(data) <= self.limit:  # then no part of it is longer
            return [*whole, *over]
        return [*(line if len(line) <= self.limit else _cut(line, self.limit) for line in whole), *over]

    def eof(self) -> None:
        """See `Framer`."""
        self._rest = b""
        self._skipping = False

    @property
    def half(self) -> int:
        """See `Framer`."""
        return len(self._rest)

    def bound(self, limit: int) -> Sequence[bytes | TooLong]:
        """See `Framer`."""
        self.limit = limit
        rest, self._rest = bytes(self._rest), b""
        return self._keep(rest)

    def _keep(self, rest: bytes) -> list[bytes | TooLong]:
        """More of an unfinished line came. One byte over the limit may still be the CR of its end."""
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
    """What one read returned is one message, because the original client ends nothing with a newline.

    One LF at the end, with or without a CR before it, is dropped all the same: `nc` sends it.
    """

    __slots__ = ("limit",)
    half = 0

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def bound(self, limit: int) -> Sequence[bytes | TooLong]:
        """See `Framer`; nothing is ever unfinished."""
        self.limit = limit
        return []

    def feed(self, data: bytes) -> Sequence[bytes | TooLong]:
        """See `Framer`."""
        if not data:
            return []
        line = data.removesuffix(b"\n").removesuffix(b"\r")
        return [line if len(line) <= self.limit else _cut(line, self.limit)]

    def eof(self) -> None:
        """See `Framer`; nothing is ever kept."""


def _cut(line: bytes | bytearray, limit: int) -> TooLong:
    return TooLong(limit, bytes(line[: min(limit, BEGINNING_BYTES)]))
