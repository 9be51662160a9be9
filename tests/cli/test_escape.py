"""Texts of others can't control a terminal."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from pairchat.escape import escape, lines, word
from tests.support.rows import each_row


@each_row(
    ("hostile", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),  # CSI
        ("\x9b2J", r"\x9b2J"),  # CSI in one character
        ("\x1b]52;c;aGk=\x07", r"\x1b]52;c;aGk=\x07"),  # OSC 52 writes the clipboard
        ("\x1bP1$q\x1b\\", "\\x1bP1$q\\x1b\\"),  # DCS
        ("\u202eevil\u2066", r"\u202eevil\u2066"),
        ("a\u061cb\u200ec\u200fd", r"a\u061cb\u200ec\u200fd"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("a\rb\x00c\x7f\x85", r"a\x0db\x00c\x7f\x85"),
        ("\ud800", r"\ud800"),
    ],
)
def test_characters_that_steer_a_terminal_are_shown_as_escapes(hostile: str, shown: str) -> None:
    assert escape(hostile) == shown


@each_row("harmless", ["plain", "tab\there", "張三 שלום", "👩‍👩‍👧", "e\u0301", "back\\slash"])
def test_ordinary_text_stays_as_it_is(harmless: str) -> None:
    assert escape(harmless) == harmless


@given(st.text())
def test_nothing_that_is_printed_holds_a_control_character(text: str) -> None:
    for line in [*lines(text), word(text)]:
        assert not [c for c in line if c != "\t" and unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
        assert not [
            c
            for c in line
            if unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        ]


def test_a_line_feed_begins_a_line_in_a_text_but_not_in_a_name() -> None:
    assert lines("a\nb\r\nc") == ["a", "b", "c"]
    assert word("a\nb") == r"a\x0ab"
