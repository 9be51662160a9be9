"""Unicode as names see it: frozen tables, so that nodes on different Pythons agree on who owns which name.

A Python carries the Unicode data of its year. Of that, this package uses only what Unicode's stability policies keep
for ever for a character once it is assigned (normalisation, combining class, case mapping), and only for characters
that the oldest supported Python knows. What may change (general category, bidi class, look-alikes) is in tables here.
"""

import unicodedata
from bisect import bisect_right
from functools import cache
from importlib.resources import files
from typing import Literal

DOT_ABOVE = "\u0307"
DOTTED = "ij"  # every other letter that has its own dot looks like one of these two


def _lines(table: str) -> list[str]:
    text = files(__name__).joinpath(table).read_text(encoding="ascii")
    return [line for line in text.splitlines() if not line.startswith("#")]


class Repertoire:
    """The characters that a name can be typed with, in the shape of the `unicodedata` module, as precis-i18n wants it.

    For any other character `category` says `Cn`, unassigned, whatever the running Python knows about it.
    """

    unidata_version = "14.0.0"
    combining = staticmethod(unicodedata.combining)
    normalize = staticmethod(unicodedata.normalize)

    def __init__(self) -> None:
        """Read the table (a few milliseconds)."""
        rows = [line.split() for line in _lines("repertoire.txt")]
        self._first = [int(first, 16) for first, _, _, _ in rows]
        self._last = [int(last, 16) for _, last, _, _ in rows]
        self._kinds = [(category, bidi) for _, _, category, bidi in rows]

    def _kind(self, char: str) -> tuple[str, str]:
        row = bisect_right(self._first, ord(char)) - 1
        return self._kinds[row] if row >= 0 and ord(char) <= self._last[row] else ("Cn", "")

    def __contains__(self, char: str) -> bool:
        """Whether a name can be typed with this character."""
        return self.category(char) != "Cn"

    def category(self, char: str) -> str:
        """`Mn` and `Mc` for marks, `Cn` for what is no part of names, `Lo` for all others."""
        return self._kind(char)[0]

    def bidirectional(self, char: str) -> str:
        """The bidi class; empty for what is no part of names."""
        return self._kind(char)[1]


@cache
def repertoire() -> Repertoire:
    """The one table, read on first use: a node whose users all have ASCII names never holds it."""
    return Repertoire()


@cache
def _look_alikes() -> dict[int, str]:
    """What `str.translate` needs to map each character to its prototype."""
    table: dict[int, str] = {}
    for line in _lines("confusables.txt"):
        prototype, sources = line.split(":")
        target = "".join(chr(int(cp, 16)) for cp in prototype.split())
        table |= dict.fromkeys([int(cp, 16) for cp in sources.split()], target)
    return table


def normalize(form: Literal["NFC", "NFD"], text: str) -> str:
    """The text in this normal form; the same on every Python, for text of the repertoire."""
    return unicodedata.normalize(form, text)


def skeleton(text: str) -> str:
    """What the text looks like: two texts of the repertoire with one skeleton are look-alikes (UTS #39, section 4).

    Beyond UTS #39 a dot above on `i` and `j` is dropped, since it takes the place of the letter's own dot and can't be
    seen. A skeleton is its own skeleton. It is for comparing, never for showing.
    """
    return _drop_hidden_dots(normalize("NFD", normalize("NFD", text).translate(_look_alikes())))


def _drop_hidden_dots(text: str) -> str:
    if DOT_ABOVE not in text:
        return text
    seen: list[str] = []
    dotted = False
    for char in text:
        if char == DOT_ABOVE and dotted:
            continue
        # Marks of other places (a cedilla, a stroke) leave the dot where it is; one above (class 230) is seen below it.
        dotted = char in DOTTED or (dotted and unicodedata.combining(char) not in (0, 230))
        seen.append(char)
    return "".join(seen)
