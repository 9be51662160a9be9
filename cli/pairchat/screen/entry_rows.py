"""This module draws entries as rows, such as `14:02 ✓✓  alice │ text`. Only the part at the right varies in width."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from prompt_toolkit.formatted_text import StyleAndTextTuples

from pairchat.escape import lines, word
from pairchat.events import DeliveryStatus, Outgoing
from pairchat.screen.theme import name_style
from pairchat.screen.transcript import Entry, Kind
from pairchat.screen.wrap_and_fit import chop, columns, fit, normalize_widths, pad_left, wrap
from pairchat.wording import why_unsettled

LONGEST_NAME = 16  # columns; longer names are shortened
NARROW = 48  # columns; on a narrower screen names stand above their texts instead of beside them
_HEAD = 5 + 1 + 2 + 1  # columns of the time and the ticks, each with a space


class DrawingOptions(NamedTuple):
    """The parameters of drawing that all entries share."""

    width: int
    names: int  # columns for names
    found: str  # the words of the last search


Row = StyleAndTextTuples


def rows(entry: Entry, options: DrawingOptions) -> list[Row]:
    """Return the rows of an entry. They are cached in it until it or the options change."""
    outgoing = entry.outgoing
    key = (options, entry.retried, outgoing and (outgoing.fate, outgoing.by))
    if entry.drawn is None or entry.drawn[0] != key:
        entry.drawn = (key, _DRAW[entry.kind](entry, options))
    drawn: list[Row] = entry.drawn[1]
    return drawn


def names_width(names: list[str], width: int) -> int:
    """Return the number of columns for these names, on a screen of `width` columns."""
    widest = max((columns(normalize_widths(word(name))) for name in names), default=0)
    return min(widest, LONGEST_NAME, max(4, width // 5))


def tick(outgoing: Outgoing) -> tuple[str, str]:
    """Return the style and the two columns that show the outcome of a text."""
    match outgoing.fate:
        case DeliveryStatus.PENDING:
            return "class:tick", "· "
        case DeliveryStatus.DELIVERED if outgoing.by == "client":
            return "class:tick.client", "✓✓"
        case DeliveryStatus.DELIVERED:
            return "class:tick.node", "✓ "
        case _:
            return "class:tick.bad", "✗ "


def _text(entry: Entry, options: DrawingOptions) -> list[Row]:
    head: Row = [("class:time", f"{entry.at:%H:%M} ")]
    head.append((*tick(entry.outgoing),) if entry.outgoing else ("", "  "))
    name = normalize_widths(word(entry.who))
    body = [normalize_widths(line) for line in lines(entry.text)]
    if options.width < NARROW:
        return _narrow(entry, options, head, name, body)
    head += [("", " "), (name_style(entry.who), pad_left(name, options.names)), ("class:rule", " │ ")]
    margin: Row = [("class:rule", " " * (_HEAD + options.names) + " │ ")]
    room = options.width - _HEAD - options.names - 3
    return _under(head, margin, _body(entry, options, body, room))


def _narrow(entry: Entry, options: DrawingOptions, head: Row, name: str, body: list[str]) -> list[Row]:
    head = [*head, ("", " "), (name_style(entry.who), fit(name, max(1, options.width - _HEAD)))]
    return [head, *_under([("", "  ")], [("", "  ")], _body(entry, options, body, max(4, options.width - 2)))]


def _under(first: Row, margin: Row, body: list[Row]) -> list[Row]:
    return [(first if index == 0 else margin) + row for index, row in enumerate(body)]


def _body(entry: Entry, options: DrawingOptions, body: list[str], room: int) -> list[Row]:
    style = "class:bad" if entry.failed and not entry.retried else ""
    found = [_marked(row, style, options.found) for line in body for row in wrap(line, max(1, room))]
    if entry.outgoing is not None and entry.failed:
        why = "sent again" if entry.retried else f"{why_unsettled(entry.outgoing)}; /retry sends it again"
        found += [[("class:notice" if entry.retried else "class:bad", row)] for row in wrap(why, max(1, room))]
    return found


def _marked(row: str, style: str, words: str) -> Row:
    """Return the row with all matches of the search marked."""
    start = row.casefold().find(words.casefold()) if words else -1
    if start < 0 or len(row.casefold()) != len(row):
        return [(style, row)]
    end = start + len(words)
    return [(style, row[:start]), ("class:found", row[start:end]), *_marked(row[end:], style, words)]


def _line(style: str, sign: str) -> Callable[[Entry, DrawingOptions], list[Row]]:
    def draw(entry: Entry, options: DrawingOptions) -> list[Row]:
        head: Row = [("class:time", f"{entry.at:%H:%M} "), (style, sign)]
        margin: Row = [("", " " * (6 + len(sign)))]
        room = max(1, options.width - 6 - len(sign))
        body = [row for line in lines(entry.text) for row in wrap(normalize_widths(line), room)]
        return _under(head, margin, [_marked(row, style, options.found) for row in body])

    return draw


def _raw(entry: Entry, options: DrawingOptions) -> list[Row]:
    body = chop(normalize_widths(word(entry.text)), max(1, options.width - 6))
    return _under([("class:time", f"{entry.at:%H:%M} ")], [("", " " * 6)], [[("class:raw", row)] for row in body])


def _rule(style: str, words: Callable[[datetime], str]) -> Callable[[Entry, DrawingOptions], list[Row]]:
    def draw(entry: Entry, options: DrawingOptions) -> list[Row]:
        label = fit(f" {words(entry.at)} ", options.width)
        left = max(0, options.width - columns(label)) // 2
        right = max(0, options.width - columns(label) - left)
        return [[(style, "─" * left + label + "─" * right)]]

    return draw


_DRAW: dict[Kind, Callable[[Entry, DrawingOptions], list[Row]]] = {
    Kind.TEXT: _text,
    Kind.NOTICE: _line("class:notice", "* "),
    Kind.HELP: _line("class:notice", "* "),
    Kind.ERROR: _line("class:error", "! "),
    Kind.RAW: _raw,
    Kind.DAY: _rule("class:rule", lambda at: f"{at:%A}, {at.day} {at:%B %Y}"),
    Kind.NEW: _rule("class:new", lambda at: "new messages"),
}
