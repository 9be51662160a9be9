"""This module keeps the history of texts and notices for the screen. It doesn't depend on a terminal."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import Any, Final

from pairchat.events import DeliveryStatus, Outgoing

KEPT: Final = 10_000  # entries; they take some four megabytes if their texts are short
KEPT_TEXT: Final = 4_000_000  # characters in all entries; each takes up to four bytes
DRAWN: Final = 500  # number of the latest entries whose rows are cached, more than any screen shows


class Kind(Enum):
    """The kind of an entry."""

    TEXT = "text"
    NOTICE = "notice"
    HELP = "help"
    ERROR = "error"
    RAW = "raw"
    DAY = "day"
    NEW = "new"


@dataclass(eq=False)
class Entry:
    """One entry of the history."""

    kind: Kind
    text: str
    at: datetime
    who: str = ""
    outgoing: Outgoing | None = None  # the record of our own text
    partner: str = ""  # the recipient of our own text
    retried: bool = False  # True if it was sent again under another id
    drawn: Any = field(default=None, repr=False)  # the cached rows, see `rows`

    @property
    def failed(self) -> bool:
        """True for a text of ours that may not have arrived, or was refused."""
        return self.outgoing is not None and self.outgoing.fate in (DeliveryStatus.UNCONFIRMED, DeliveryStatus.REFUSED)


class Transcript:
    """The last `KEPT` entries, or fewer if they are long."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.speakers: dict[str, None] = {}  # the names of those who sent a text
        self._size = 0  # characters in all entries
        self._day: date | None = None
        self._new: Entry | None = None

    def add(self, entry: Entry) -> Entry:
        """Append an entry, after a line with the date if it is the first of its day."""
        if entry.at.date() != self._day:
            self._day = entry.at.date()
            self.entries.append(Entry(Kind.DAY, "", entry.at))
        self.entries.append(entry)
        self._size += len(entry.text)
        self._trim()
        return entry

    def _trim(self) -> None:
        """Drop the oldest entries beyond the limits, and the cached rows of old ones."""
        gone = max(0, len(self.entries) - KEPT)
        self._size -= sum(len(entry.text) for entry in self.entries[:gone])
        while self._size > KEPT_TEXT and gone < len(self.entries) - 1:
            self._size -= len(self.entries[gone].text)
            gone += 1
        del self.entries[:gone]
        if len(self.entries) > DRAWN:
            self.entries[-DRAWN - 1].drawn = None

    def text(self, who: str, text: str, at: datetime) -> Entry:
        """Append a text of the partner."""
        self.speakers[who] = None
        return self.add(Entry(Kind.TEXT, text, at, who))

    def own(self, who: str, outgoing: Outgoing, partner: str) -> Entry:
        """Append a text of ours. Since the user writes, everything before it counts as read."""
        self.clear_new()
        self.speakers[who] = None
        return self.add(Entry(Kind.TEXT, outgoing.text, datetime.now(), who, outgoing=outgoing, partner=partner))

    def notice(self, text: str) -> Entry:
        """Append a notice."""
        return self.add(Entry(Kind.NOTICE, text, datetime.now()))

    def help(self, text: str) -> Entry:
        """Append a help text, which searches don't find."""
        return self.add(Entry(Kind.HELP, text, datetime.now()))

    def error(self, text: str) -> Entry:
        """Append an error."""
        return self.add(Entry(Kind.ERROR, text, datetime.now()))

    def raw(self, text: str) -> Entry:
        """Append a frame for `/raw`."""
        return self.add(Entry(Kind.RAW, text, datetime.now()))

    def mark_new(self) -> None:
        """Append the line "new messages", unless there is one already."""
        if self._new is None:
            self._new = self.add(Entry(Kind.NEW, "", datetime.now()))

    def clear_new(self) -> None:
        """Remove the line "new messages"."""
        new, self._new = self._new, None
        if new is not None and new in self.entries:
            self.entries.remove(new)

    def clear(self) -> None:
        """Remove all entries except texts that are pending or failed, because `/retry` may need them."""
        kept = [entry for entry in self.entries if entry.outgoing and not entry.retried and self._open(entry)]
        self.entries, self._size, self._new, self._day = [], 0, None, None
        for entry in kept:
            self.add(entry)

    @staticmethod
    def _open(entry: Entry) -> bool:
        return entry.failed or (entry.outgoing is not None and entry.outgoing.fate is DeliveryStatus.PENDING)

    def failed(self) -> Iterator[Entry]:
        """Return the failed texts that were not sent again."""
        return (entry for entry in self.entries if entry.failed and not entry.retried)

    def find(self, words: str) -> list[Entry]:
        """Return the texts and notices that contain these words in any case, oldest first."""
        wanted = words.casefold()
        return [e for e in self.entries if e.kind in (Kind.TEXT, Kind.NOTICE) and wanted in e.text.casefold()]
