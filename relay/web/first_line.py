"""Tells a client that speaks HTTP by its first line, however its bytes were cut.

No line that reads as an HTTP request line is ever taken for a name. Otherwise a web page elsewhere could talk to the
text dialect: a browser lets every page send requests with any body anywhere.
"""

import re
from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

# The longest method that is taken for one. The longest that is registered (UPDATEREDIRECTREF) has 17 bytes.
METHOD_BYTES: Final = 32
# The most that a request line, and a whole head, may have. Browsers with many cookies stay below half of it.
HEAD_BYTES: Final = 16 * 1024

_METHOD: Final = rb"[!#$%%&'*+.^_`|~0-9A-Za-z-]{1,%d}" % METHOD_BYTES
# The target may be anything, so that a broken request is answered as one, and never is a name.
_REQUEST_LINE: Final = re.compile(_METHOD + rb"[ \t][^\n]*[ \t]HTTP/[0-9]\.[0-9][ \t]*\r?\n")
_BEGINNING: Final = re.compile(_METHOD + rb"(?:[ \t]|\Z)")
# The beginning of a line that can only be a request's: no name is followed by these, and neither is the token of one.
_LIKELY: Final = re.compile(_METHOD + rb"[ \t]+(/|\*|https?://)")


class Speaks(Enum):
    """What the first bytes of a connection show."""

    UNKNOWN = auto()  # more bytes are needed
    HTTP = auto()
    LINES = auto()  # one of the dialects


def look(start: bytes, limit: int = HEAD_BYTES) -> Speaks:
    """Return what a client speaks that sent these bytes first. The answer is the same for any cut of the same bytes.

    `limit` is the longest line of a client that speaks in lines, in bytes without its end.
    """
    likely = _LIKELY.match(start, 0, limit) is not None
    most = HEAD_BYTES if likely else min(HEAD_BYTES, limit + len(b"\r\n"))
    if start.find(b"\n", 0, most) >= 0:
        return Speaks.HTTP if _REQUEST_LINE.match(start) else Speaks.LINES
    if len(start) < most:
        return Speaks.UNKNOWN if _BEGINNING.match(start) else Speaks.LINES
    return Speaks.HTTP if likely else Speaks.LINES


class FirstLine:
    """Keeps the bytes of a new connection until it is known what the client speaks. It is a `Framer` without lines."""

    __slots__ = ("_rest", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._rest = b""

    @property
    def half(self) -> int:
        """See `Framer`."""
        return len(self._rest)

    def bound(self, limit: int) -> Sequence[bytes]:
        """See `Framer`. The limit counts once the client is known to speak in lines."""
        self.limit = limit
        return ()

    def feed(self, data: bytes) -> Sequence[bytes]:
        """Keep more bytes. There is no line before it is known what they are."""
        self._rest += data
        return ()

    def look(self) -> Speaks:
        """Return what the client speaks."""
        return look(self._rest, self.limit)

    @property
    def likely_http(self) -> bool:
        """Whether the bytes can only be a request's, even if the line isn't complete."""
        return _LIKELY.match(self._rest, 0, self.limit) is not None

    def take(self) -> bytes:
        """Return all bytes, and keep none."""
        rest, self._rest = self._rest, b""
        return rest

    def eof(self) -> None:
        """See `Framer`."""
        self._rest = b""
