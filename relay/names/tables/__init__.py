"""Frozen Unicode tables for names, so that nodes on different Pythons agree on who owns which name.

Each Python release has its own Unicode data. This package uses only the properties of them that Unicode's stability
policies never change for an assigned character (normalisation, combining class, case mapping), and only for characters
that the oldest supported Python knows. Properties that may change (general category, bidi class, look-alikes) are in
the tables here.
"""

import unicodedata
from bisect import bisect_right
from functools import cache
from importlib.resources import files
from typing import Literal

DOT_ABOVE = "\u0307"
DOTTED = "ij"  # every other letter with its own dot looks like one of these two


def _lines(table: str) -> list[str]:
    text = files(__name__).joinpath(table).read_text(encoding="ascii")
    return [line for line in text.splitlines() if not line.startswith("#")]


class Repertoire:
    """The characters that names may contain, with the interface of the `unicodedata` module that precis-i18n needs.

    For any other character `category` returns `Cn`, unassigned, whatever the running Python knows about it.
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
        """Return whether a name may contain this character."""
        return self.category(char) != "Cn"

    def category(self, char: str) -> str:
        """Return `Mn` or `Mc` for marks, `Cn` for characters that names can't contain, and `Lo` for all others."""
        return self._kind(char)[0]

    def bidirectional(self, char: str) -> str:
        """Return the bidi class, or "" for a character that names can't contain."""
        return self._kind(char)[1]


@cache
def repertoire() -> Repertoire:
    """Return the only table, which is read on first use: a node whose names are all ASCII never loads it."""
    return Repertoire()


@cache
def _look_alikes() -> dict[int, str]:
    """Return the table for `str.translate` that maps each character to its prototype."""
    table: dict[int, str] = {}
    for line in _lines("confusables.txt"):
        prototype, sources = line.split(":")
        target = "".join(chr(int(cp, 16)) for cp in prototype.split())
        table |= dict.fromkeys([int(cp, 16) for cp in sources.split()], target)
    return table


def normalize(form: Literal["NFC", "NFD"], text: str) -> str:
    """Return the text in this normal form. For text of the repertoire it is the same on every Python."""
    return unicodedata.normalize(form, text)


def skeleton(text: str) -> str:
    """Return the skeleton: two texts of the repertoire with the same skeleton are look-alikes (UTS #39, section 4).

    Beyond UTS #39, a dot above on `i` and `j` is dropped, because it replaces the letter's own dot and can't be seen.
    The skeleton of a skeleton is itself. It is for comparing, never for showing.
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
        # Marks elsewhere (a cedilla, a stroke) leave the dot in its place. Below another mark above (class 230), the
        # dot can be seen.
        dotted = char in DOTTED or (dotted and unicodedata.combining(char) not in (0, 230))
        seen.append(char)
    return "".join(seen)
