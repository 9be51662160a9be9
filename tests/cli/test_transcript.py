"""The transcript for the screen is bounded, however long a chat lasts."""

from datetime import datetime

from prompt_toolkit.utils import _CHAR_SIZES_CACHE  # private: it is the cache of a library, which shows it nowhere

from pairchat.screen.entry_rows import DrawingOptions, rows
from pairchat.screen.transcript import DRAWN, KEPT, KEPT_TEXT, Kind, Transcript

NOW = datetime(2026, 11, 30)


def test_the_oldest_go_where_there_are_too_many() -> None:
    history = Transcript()
    for number in range(KEPT + 10):
        history.text("bob", str(number), NOW)
    assert len(history.entries) == KEPT
    assert history.entries[0].text == "10"
    assert history.entries[-1].text == str(KEPT + 9)


def test_the_oldest_go_where_they_are_too_long_but_for_the_latest() -> None:
    history = Transcript()
    for number in range(10):
        history.text("bob", str(number) * (KEPT_TEXT // 4), NOW)
    assert [entry.text[0] for entry in history.entries] == ["6", "7", "8", "9"]
    history.text("bob", "x" * 2 * KEPT_TEXT, NOW)
    assert [entry.text[0] for entry in history.entries] == ["x"]
    history.clear()
    for _ in range(2):
        history.text("bob", "y" * (KEPT_TEXT // 2), NOW)
    assert [entry.kind for entry in history.entries] == [Kind.DAY, Kind.TEXT, Kind.TEXT]


def test_rows_are_kept_of_the_latest_only() -> None:
    history = Transcript()
    for number in range(2 * DRAWN):
        rows(history.text("bob", str(number), NOW), DrawingOptions(80, 8, ""))
    drawn = [entry for entry in history.entries if entry.drawn is not None]
    assert drawn == history.entries[-DRAWN:]


def test_no_text_is_remembered_for_its_width() -> None:
    history = Transcript()
    rows(history.text("bob", "words that nobody says twice 日本", NOW), DrawingOptions(80, 8, ""))
    assert not [text for text in _CHAR_SIZES_CACHE if text in ("nobody", "twice", "words that nobody says twice 日本")]
