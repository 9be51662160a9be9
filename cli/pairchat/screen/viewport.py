"""The window onto the history: what fits is drawn, however long the history is."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from prompt_toolkit.data_structures import Point
from prompt_toolkit.layout.controls import UIContent, UIControl
from prompt_toolkit.mouse_events import MouseEvent, MouseEventType

from pairchat.screen.rows import Look, Row, names_width, rows
from pairchat.screen.transcript import Entry, Transcript

if TYPE_CHECKING:
    from prompt_toolkit.key_binding.key_bindings import NotImplementedOrNone

WHEEL = 3  # rows a notch of the mouse wheel


class Viewport(UIControl):
    """Shows the end of the history, and keeps its place when scrolled back, whatever comes in or changes width."""

    def __init__(self, history: Transcript, names: Callable[[], list[str]]) -> None:
        self._history = history
        self._names = names
        self._top: tuple[Entry, int] | None = None  # the first row, by entry and row in it; None: the end is shown
        self._height = 1
        self._look = Look(80, 8, "")
        self.found = ""  # what was searched for
        self.unseen = 0  # texts that came in while the end was not in sight

    @property
    def at_end(self) -> bool:
        """Whether what comes next will be seen."""
        return self._top is None

    # --- scrolling

    def scroll(self, by: int) -> None:
        """Move by rows, down if positive."""
        entries = self._history.entries
        index, row = self._first()
        row += by
        while row < 0 and index > 0:
            index -= 1
            row += len(rows(entries[index], self._look))
        while index < len(entries) and row >= len(rows(entries[index], self._look)):
            row -= len(rows(entries[index], self._look))
            index += 1
        if index >= len(entries) or (index, max(row, 0)) >= self._last_top():
            self.to_end()
        else:
            self._top = entries[index], max(row, 0)

    def page(self, by: int) -> None:
        """Move by screens; a row of the last one stays in sight."""
        self.scroll(by * max(1, self._height - 1))

    def to_end(self) -> None:
        """Show the latest."""
        self._top, self.unseen = None, 0

    def show(self, entry: Entry) -> None:
        """Bring an entry into the middle of the window."""
        self._top = entry, 0
        self.scroll(-(self._height // 2))

    def _first(self) -> tuple[int, int]:
        """Index and row of what is at the top now."""
        if self._top is not None and self._top[0] in self._history.entries:
            return self._history.entries.index(self._top[0]), self._top[1]
        return self._last_top()

    def _last_top(self) -> tuple[int, int]:
        """Index and row of the first row when the end is shown."""
        room, entries = self._height, self._history.entries
        for index in range(len(entries) - 1, -1, -1):
            room -= len(rows(entries[index], self._look))
            if room <= 0:
                return index, -room
        return 0, 0

    # --- prompt_toolkit

    def create_content(self, width: int, height: int) -> UIContent:
        """The rows that are in sight; the last ones stand at the bottom."""
        self._height = max(1, height)
        self._look = Look(width, names_width(self._names(), width), self.found)
        index, skip = self._first()
        if self._top is not None and (index, skip) >= self._last_top():
            self.to_end()
            index, skip = self._last_top()
        shown: list[Row] = []
        for entry in self._history.entries[index:]:
            shown += rows(entry, self._look)
            if len(shown) - skip >= self._height:
                break
        shown = shown[skip : skip + self._height]
        shown = [[] for _ in range(self._height - len(shown))] + shown
        return UIContent(lambda i: shown[i], len(shown), Point(0, len(shown) - 1), show_cursor=False)

    def is_focusable(self) -> bool:
        """Never: what is typed goes into the input."""
        return False

    def mouse_handler(self, mouse_event: MouseEvent) -> "NotImplementedOrNone":
        """The wheel scrolls."""
        if mouse_event.event_type is MouseEventType.SCROLL_UP:
            self.scroll(-WHEEL)
        elif mouse_event.event_type is MouseEventType.SCROLL_DOWN:
            self.scroll(WHEEL)
        else:
            return NotImplemented
        return None
