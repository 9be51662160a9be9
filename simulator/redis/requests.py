"""Takes a client's bytes apart into commands, wherever they were cut: arrays of bulk strings, or lines for `nc`."""

from typing import Final

_INLINE_BYTES: Final = 64 * 1024  # the longest line
_BULK_BYTES: Final = 512 * 1024 * 1024
_ARGUMENTS: Final = 2**31 - 1
# The lines before short arguments.
_SIZES: Final = {b"$%d" % size: size for size in range(1024)}
_SPACES: Final = b" \t\n\v\f\r\0"
_ESCAPES: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


class ProtocolError(Exception):
    """The client doesn't speak the protocol. The server says why and closes the connection."""


class RequestParser:
    """Collects the bytes of one connection."""

    __slots__ = ("_arguments", "_buffer", "_missing", "_place", "_waiting")

    def __init__(self) -> None:
        self._buffer = b""
        self._place = 0  # what is before it in the buffer has been taken
        self._arguments: list[bytes] = []  # of the command that isn't complete yet
        self._missing = 0  # how many more arguments it has
        self._waiting: list[bytes] | None = None  # was taken, and put back

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        self._buffer = self._buffer[self._place :] + data
        self._place = 0

    def put_back(self, words: list[bytes]) -> None:
        """Return the last command: it will be the next one again."""
        self._waiting = words

    def next(self) -> list[bytes] | None:
        """Return the words of the next command, or None while it isn't complete. Raises ProtocolError."""
        if self._waiting is not None:
            words, self._waiting = self._waiting, None
            return words
        while not self._missing:
            buffer, place = self._buffer, self._place
            if place >= len(buffer):
                return None
            if buffer[place] != 0x2A:  # *
                line = self._inline()
                if line is None:
                    return None
                if line_words := split(line):
                    return line_words
                continue
            digits = self._line(b"*", "too big mbulk count string")
            if digits is None:
                return None
            self._missing = max(0, _number(digits, _ARGUMENTS, "invalid multibulk length"))
        return self._bulks()

    def _bulks(self) -> list[bytes] | None:
        """Take the arguments that are there. Return the command if it is complete."""
        while self._missing:
            before = self._place
            end = self._buffer.find(b"\r\n", before)
            size = _SIZES.get(self._buffer[before:end]) if end >= 0 else None
            if size is not None and len(self._buffer) >= end + size + 4:  # nearly always
                self._arguments.append(self._buffer[end + 2 : end + 2 + size])
                self._place = end + size + 4
                self._missing -= 1
                continue
            digits = self._line(b"$", "too big bulk count string")
            if digits is None:
                return None
            size = _number(digits, _BULK_BYTES, "invalid bulk length")
            if size < 0:
                raise ProtocolError("invalid bulk length")
            end = self._place + size
            if len(self._buffer) < end + 2:
                self._place = before
                return None
            self._arguments.append(self._buffer[self._place : end])
            self._place = end + 2
            self._missing -= 1
        arguments, self._arguments = self._arguments, []
        return arguments

    def _inline(self) -> bytes | None:
        """Take a line for people, if its end has come. The server doesn't look for that behind a zero byte."""
        end = self._buffer.find(b"\n", self._place)
        if end < 0 or self._buffer.find(b"\0", self._place, end) >= 0:
            self._bound("too big inline request")
            return None
        line = self._buffer[self._place : end]
        self._place = end + 1
        return line

    def _line(self, sign: bytes, too_long: str) -> bytes | None:
        """Take a line that has this sign and a number, and return what follows the sign, if its end has come."""
        end = self._buffer.find(b"\r", self._place)
        if end < 0 or end + 1 >= len(self._buffer):
            self._bound(too_long)
            return None
        if not self._buffer.startswith(sign, self._place):
            raise ProtocolError(f"expected '{sign.decode()}', got '{chr(self._buffer[self._place])}'")
        if self._buffer[end + 1] != 0x0A:
            raise ProtocolError("invalid CRLF in request")
        digits = self._buffer[self._place + 1 : end]
        self._place = end + 2
        return digits

    def _bound(self, too_long: str) -> None:
        if len(self._buffer) - self._place > _INLINE_BYTES:
            raise ProtocolError(too_long)


def _number(digits: bytes, most: int, wrong: str) -> int:
    """Return a count as the server reads it: without spaces, signs and zeros that needn't be there."""
    try:
        number = int(digits)
    except ValueError:
        raise ProtocolError(wrong) from None
    if number > most or b"%d" % number != digits:
        raise ProtocolError(wrong)
    return number


def split(line: bytes) -> list[bytes]:
    """Split a line at its spaces into words, with quotes as in a shell. Raises ProtocolError for unbalanced ones."""
    words: list[bytes] = []
    place = 0
    while True:
        while place < len(line) and line[place] in _SPACES:
            place += 1
        if place >= len(line):
            return words
        word = bytearray()
        while place < len(line) and line[place] not in _SPACES:
            if line[place] in b"\"'":
                place = _quoted(line, place, word)
            else:
                word.append(line[place])
                place += 1
        words.append(bytes(word))


def _quoted(line: bytes, place: int, word: bytearray) -> int:
    """Append what stands in the quotes that begin at this place to a word. Return the place after them."""
    quote = line[place : place + 1]
    place += 1
    while place < len(line):
        here, after = line[place : place + 1], line[place + 1 : place + 2]
        if here == quote:
            return place + 1
        if here == b"\\" and quote == b'"' and after == b"x" and _hex(line[place + 2 : place + 4]):
            word.append(int(line[place + 2 : place + 4], 16))
            place += 4
        elif here == b"\\" and after and (quote == b'"' or after == b"'"):
            word += _ESCAPES.get(after, after) if quote == b'"' else after
            place += 2
        else:
            word += here
            place += 1
    raise ProtocolError("unbalanced quotes in request")


def _hex(digits: bytes) -> bool:
    return len(digits) == 2 and all(digit in b"0123456789abcdefABCDEF" for digit in digits)
