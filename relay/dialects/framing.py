"""From the chunks that a socket happens to return to the lines that a dialect parses, in bounded memory."""

from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from relay.badframe import NOTHING, About
from relay.errors import Code
from relay.events import Hangup, Malformed

# Of a line that is too long so many bytes are kept: what it is about stands at its beginning, if it says so at all.
START_BYTES: Final = 512


class TooLong(Struct, frozen=True):
    """Stands where a line longer than `limit` bytes was; all of it but its start is gone."""

    limit: int
    start: bytes


Line = bytes | TooLong | Hangup  # what a connection has to handle, in order


def too_long(mark: TooLong, about: About = NOTHING) -> Malformed:
    """The refusal to give in the place of the line."""
    message = f"line too long: at most {mark.limit} bytes"
    return Malformed(Code.TOO_LONG, message, about.id, about.name, about.ref)


class Framer(Protocol):
    """Cuts a byte stream into lines."""

    def feed(self, data: bytes) -> Sequence[bytes | TooLong]:
        """The lines that `data` completes, in order, without their line ends."""
        ...

    def eof(self) -> None:
        """The stream is over: what has no line end is not a line, and is forgotten."""
        ...


class LineFramer:
    """Lines end in LF; a CR before it is dropped. A line holds at most `max_line` bytes, its end not counted.

    A longer line is one `TooLong`, as soon as it is seen to be too long; the rest of it, up to its LF, is skipped.
    Between calls at most `max_line` + 1 bytes are kept, whatever the peer sends.
    """

    __slots__ = ("_max", "_rest", "_skipping")

    def __init__(self, max_line: int) -> None:
        self._max = max_line
        self._rest = bytearray()  # the unfinished line; grows in place, so that single bytes cost no copies
        self._skipping = False  # the unfinished line was too long and has been reported

    def feed(self, data: bytes) -> Sequence[bytes | TooLong]:
        """See `Framer`."""
        if not self._rest and not self._skipping and len(data) <= self._max and data.find(b"\r") < 0:  # nearly always
            lines = data.split(b"\n")
            if rest := lines.pop():
                self._rest += rest
            return lines
        if self._rest or self._skipping:
            if data.find(b"\n") < 0:  # find, here and below: half the time of `in`, which first tries for an integer
                return [*self._keep(data)]
            data = data[data.index(b"\n") + 1 :] if self._skipping else bytes(self._rest) + data
            self.eof()
        *whole, rest = data.split(b"\n")
        over = self._keep(rest) if rest else ()
        if data.find(b"\r") >= 0:
            whole = [line.removesuffix(b"\r") for line in whole]
        if len(data) <= self._max:  # then no part of it is longer
            return [*whole, *over]
        return [*(line if len(line) <= self._max else self._too_long(line) for line in whole), *over]

    def eof(self) -> None:
        """See `Framer`."""
        self._rest.clear()
        self._skipping = False

    def _keep(self, rest: bytes) -> tuple[TooLong, ...]:
        """More of an unfinished line came. One byte over the limit may still be the CR of its end."""
        if self._skipping or not rest:
            return ()
        size = len(self._rest) + len(rest)
        if size <= self._max or (size == self._max + 1 and rest.endswith(b"\r")):
            self._rest += rest
            return ()
        start = self._too_long(self._rest[:START_BYTES] + rest[:START_BYTES])
        self._rest.clear()
        self._skipping = True
        return (start,)

    def _too_long(self, line: bytes | bytearray) -> TooLong:
        return TooLong(self._max, bytes(line[:START_BYTES]))


class RawFramer:
    """What one read returned is one message, because the original client ends nothing with a newline.

    One LF at the end, with or without a CR before it, is dropped all the same: `nc` sends it.
    """

    __slots__ = ("_max",)

    def __init__(self, max_line: int) -> None:
        self._max = max_line

    def feed(self, data: bytes) -> Sequence[bytes | TooLong]:
        """See `Framer`."""
        if not data:
            return []
        line = data.removesuffix(b"\n").removesuffix(b"\r")
        return [line if len(line) <= self._max else TooLong(self._max, line[:START_BYTES])]

    def eof(self) -> None:
        """See `Framer`; nothing is ever kept."""
