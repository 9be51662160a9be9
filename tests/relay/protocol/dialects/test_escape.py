"""The text that a terminal is shown."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from relay.protocol.dialects.escape import escape
from tests.support.rows import each_row


@each_row(
    ("text", "shown"),
    [
        ("hello", "hello"),
        ("", ""),
        ("a\\b", "a\\b"),
        ("你好 שלום 👩‍👩‍👧 🏳️‍🌈 e\u0301", "你好 שלום 👩‍👩‍👧 🏳️‍🌈 e\u0301"),
        ("\u00a0\u3000\u200b\u200c\u200d\ufeff\ue000", "\u00a0\u3000\u200b\u200c\u200d\ufeff\ue000"),
        ("\x00\t\n\r\x1f", r"\x00\x09\x0a\x0d\x1f"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x7f\x80\x85\x9b\x9f\xa0", "\\x7f\\x80\\x85\\x9b\\x9f\xa0"),
        ("\u061c\u200e\u200f", r"\u061c\u200e\u200f"),
        ("\u202a\u202b\u202c\u202d\u202e\u202f", "\\u202a\\u202b\\u202c\\u202d\\u202e\u202f"),
        ("\u2065\u2066\u2067\u2068\u2069\u206a", "\u2065\\u2066\\u2067\\u2068\\u2069\u206a"),
        ("\u2027\u2028\u2029", "\u2027\\u2028\\u2029"),
        ("\ud800\udfff", r"\ud800\udfff"),
    ],
)
def test_characters_that_could_drive_or_deceive_a_terminal_are_shown_as_text(text: str, shown: str) -> None:
    assert escape(text) == shown


@given(st.text(st.characters()))
def test_a_shown_text_holds_no_control_and_can_be_sent(text: str) -> None:
    shown = escape(text)
    assert not any(unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") for char in shown)
    assert not any(unicodedata.bidirectional(char) in BIDI_CONTROLS for char in shown if char not in "\u200e\u200f")
    shown.encode()


BIDI_CONTROLS = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
