"""Measures text in columns of a terminal, and wraps, shortens and pads it. The text must be safe to print."""

import re
from collections.abc import Iterator

from prompt_toolkit.utils import get_cwidth
from wcwidth import iter_graphemes

TAB = 4  # columns

# Terminals disagree about how wide these sequences are, and a wrong guess tears the rest of the row: emoji joined to
# one (shown side by side), the selectors that ask for another shape, skin tones behind something, and flags.
_JOINED = re.compile("(?<=[\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])\u200d(?=[\u2190-\u2bff\U0001f000-\U0001faff])")
_SHAPES = re.compile("[\ufe0e\ufe0f]|(?<=.)[\U0001f3fb-\U0001f3ff]", re.DOTALL)
_FLAG = re.compile("([\U0001f1e6-\U0001f1ff])([\U0001f1e6-\U0001f1ff])?")
_REGION_A = 0x1F1E6


def normalize_widths(text: str) -> str:
    """Return the text with plain characters in place of those that terminals draw in different widths."""
    if text.isascii():
        return text.replace("\t", " " * TAB)
    text = _SHAPES.sub("", _JOINED.sub("", text)).replace("\t", " " * TAB)
    return _FLAG.sub(_flag, text)


def _flag(match: re.Match[str]) -> str:
    letters = "".join(chr(ord(letter) - _REGION_A + ord("A")) for letter in match[0])
    return f"[{letters}]"


def columns(text: str) -> int:
    """Return the number of columns that a text takes."""
    # It asks for one character at a time, because prompt_toolkit caches every text and never drops short ones.
    return sum(map(get_cwidth, text))


def fit(text: str, width: int) -> str:
    """Return the text, shortened with an ellipsis if it is wider than `width` columns."""
    if columns(text) <= width:
        return text
    kept, used = "", 0
    for cluster in iter_graphemes(text):
        used += columns(cluster)
        if used > width - 1:
            break
        kept += cluster
    return kept + "…" if width > 0 else ""


def pad_left(text: str, width: int) -> str:
    """Return the text right-aligned in `width` columns, shortened if needed."""
    text = fit(text, width)
    return " " * (width - columns(text)) + text


def wrap(text: str, width: int) -> list[str]:
    """Break a line between words, and inside words that are longer than a row. Returns at least one row."""
    rows, row, used = [], "", 0
    for word in _words(text):
        size = columns(word)
        if used + size <= width:
            row, used = row + word, used + size
            continue
        if row.strip():
            rows.append(row.rstrip())
            word = word.lstrip() if row else word
            row, used, size = "", 0, columns(word)
        if size <= width:
            row, used = word, size
            continue
        *full, row = chop(row + word, width)
        rows += full
        used = columns(row)
    return [*rows, row.rstrip()] if row.strip() or not rows else rows


def _words(text: str) -> Iterator[str]:
    """Yield the words, each with the spaces before it."""
    return (match[0] for match in re.finditer(r" *[^ ]+| +$", text))


def chop(word: str, width: int) -> list[str]:
    """Break the text wherever a row is full. Returns at least one row."""
    rows, row, used = [], "", 0
    for cluster in iter_graphemes(word):
        size = columns(cluster)
        if used + size > width and row:
            rows.append(row)
            row, used = "", 0
        row, used = row + cluster, used + size
    return [*rows, row]
