"""This module shows a part of the history. It draws only the visible rows, so that a long history costs nothing."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from prompt_toolkit.data_structures import Point
from prompt_toolkit.layout.controls import UIContent, UIControl
from prompt_toolkit.mouse_events import MouseEvent, MouseEventType

from pairchat.screen.entry_rows import DrawingOptions, Row, names_width, rows
from pairchat.screen.transcript import Entry, Transcript

if TYPE_CHECKING:
    from prompt_toolkit.key_binding.key_bindings import NotImplementedOrNone

WHEEL = 3  # rows for each notch of the mouse wheel


class Viewport(UIControl):
    """Shows the end of the history. When scrolled back, it keeps its place at new entries and changes of width."""

    def __init__(self, history: Transcript, names: Callable[[], list[str]]) -> None:
        self._history = history
        self._names = names
        self._top: tuple[Entry, int] | None = None  # the first visible row, as entry and row in it; None at the end
        self._height = 1
        self._options = DrawingOptions(80, 8, "")
        self.found = ""  # the words of the last search
        self.unseen = 0  # number of texts that arrived while the end was not visible

    @property
    def at_end(self) -> bool:
        """True if the end is shown, so that new entries are visible."""
        return self._top is None

    # --- scrolling

    def scroll(self, by: int) -> None:
        """Move by rows, down if positive."""
        entries = self._history.entries
        index, row = self._first()
        row += by
        while row < 0 and index > 0:
            index -= 1
            row += len(rows(entries[index], self._options))
        while index < len(entries) and row >= len(rows(entries[index], self._options)):
            row -= len(rows(entries[index], self._options))
            index += 1
        if index >= len(entries) or (index, max(row, 0)) >= self._last_top():
            self.to_end()
        else:
            self._top = entries[index], max(row, 0)

    def page(self, by: int) -> None:
        """Move by screens. One row of the last screen stays visible."""
        self.scroll(by * max(1, self._height - 1))

    def to_end(self) -> None:
        """Show the latest entries."""
        self._top, self.unseen = None, 0

    def show(self, entry: Entry) -> None:
        """Scroll an entry into the middle of the window."""
        self._top = entry, 0
        self.scroll(-(self._height // 2))

    def _first(self) -> tuple[int, int]:
        """Return the index of the entry at the top and the row in it."""
        if self._top is not None and self._top[0] in self._history.entries:
            return self._history.entries.index(self._top[0]), self._top[1]
        return self._last_top()

    def _last_top(self) -> tuple[int, int]:
        """Return the index of the entry at the top when the end is shown, and the row in it."""
        room, entries = self._height, self._history.entries
        for index in range(len(entries) - 1, -1, -1):
            room -= len(rows(entries[index], self._options))
            if room <= 0:
                return index, -room
        return 0, 0

    # --- prompt_toolkit

    def create_content(self, width: int, height: int) -> UIContent:
        """Return the visible rows, aligned to the bottom."""
        self._height = max(1, height)
        self._options = DrawingOptions(width, names_width(self._names(), width), self.found)
        index, skip = self._first()
        if self._top is not None and (index, skip) >= self._last_top():
            self.to_end()
            index, skip = self._last_top()
        shown: list[Row] = []
        for entry in self._history.entries[index:]:
            shown += rows(entry, self._options)
            if len(shown) - skip >= self._height:
                break
        shown = shown[skip : skip + self._height]
        shown = [[] for _ in range(self._height - len(shown))] + shown
        return UIContent(lambda i: shown[i], len(shown), Point(0, len(shown) - 1), show_cursor=False)

    def is_focusable(self) -> bool:
        """Return False, because the focus stays in the input."""
        return False

    def mouse_handler(self, mouse_event: MouseEvent) -> "NotImplementedOrNone":
        """Scroll by the mouse wheel. Other events are not handled."""
        if mouse_event.event_type is MouseEventType.SCROLL_UP:
            self.scroll(-WHEEL)
        elif mouse_event.event_type is MouseEventType.SCROLL_DOWN:
            self.scroll(WHEEL)
        else:
            return NotImplemented
        return None
