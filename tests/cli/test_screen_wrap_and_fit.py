"""The width of characters on a screen, line breaks, and the contrast of colours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairchat.escape import word
from pairchat.screen.theme import NAMES, Theme, name_style
from pairchat.screen.wrap_and_fit import columns, fit, normalize_widths, pad_left, wrap
from tests.support.rows import each_row

PIECES = [*"ab ,", "日", "👋", "é", "e\u0301", "ש", "\u200d", "\ufe0f", "🏽", "🇩", "🇪", "\t", "\x1b"]
TEXTS = st.lists(st.sampled_from(PIECES)).map("".join)


@each_row(
    ("text", "shown", "width"),
    [
        ("abc", "abc", 3),
        ("日本", "日本", 4),
        ("e\u0301", "e\u0301", 1),
        ("שלום", "שלום", 4),
        ("👋", "👋", 2),
        ("👋🏽", "👋", 2),
        ("👨‍👩‍👧", "👨👩👧", 6),
        ("❤️", "❤", 1),
        ("🇩🇪🇫", "[DE][F]", 7),
        ("क्‍ष", "क्‍ष", 2),  # a joiner that belongs to the script stays
        ("a\tb", "a    b", 6),
    ],
)
def test_terminals_agree_about_what_is_shown(text: str, shown: str, width: int) -> None:
    assert normalize_widths(text) == shown
    if "क" not in text:  # terminals disagree about this one too
        assert columns(normalize_widths(text)) == width


@given(TEXTS, st.integers(1, 12))
def test_no_row_is_too_wide_and_nothing_but_spaces_gets_lost(text: str, width: int) -> None:
    shown = normalize_widths(word(text))
    rows = wrap(shown, width)
    assert rows
    assert all(columns(row) <= max(width, 2) for row in rows)
    assert "".join(rows).replace(" ", "") == shown.replace(" ", "")


def test_words_stay_whole_where_there_is_room() -> None:
    assert wrap("one two three", 8) == ["one two", "three"]
    assert wrap("incomprehensible", 6) == ["incomp", "rehens", "ible"]
    assert wrap("    indented", 20) == ["    indented"]
    assert wrap("", 5) == [""]


@given(TEXTS, st.integers(0, 9))
def test_a_column_has_its_width(text: str, width: int) -> None:
    assert columns(pad_left(normalize_widths(word(text)), width)) <= max(width, 0)
    assert columns(fit(normalize_widths(word(text)), width)) <= width


def test_a_name_has_one_colour_however_it_is_written() -> None:
    assert name_style("Alice") == name_style("ＡＬＩＣＥ")
    assert len({name_style(name) for name in ("ann", "ben", "cas", "dan", "eve")}) > 1


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG, from 1 to 21. Text should have 4.5, and large text 3."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(
    ("theme", "background", "least"),
    [(Theme.DARK, "#000000", 6), (Theme.LIGHT, "#ffffff", 5), (Theme.AUTO, "#000000", 3), (Theme.AUTO, "#ffffff", 2.9)],
)
def test_names_can_be_read(theme: Theme, background: str, least: float) -> None:
    poor = {colour: contrast(colour, background) for colour in NAMES[theme] if contrast(colour, background) < least}
    assert poor == {}
