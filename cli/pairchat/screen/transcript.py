"""What was said and what happened, in order, as it is remembered for the screen. No terminal in here."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import Any, Final

from pairchat.events import DeliveryStatus, Outgoing

KEPT: Final = 10_000  # entries; some four megabytes where their texts are short
KEPT_TEXT: Final = 4_000_000  # characters in all of them; each takes up to four bytes
DRAWN: Final = 500  # the latest entries, whose rows are kept: more than any screen shows


class Kind(Enum):
    """What an entry is."""

    TEXT = "text"
    NOTICE = "notice"
    HELP = "help"
    ERROR = "error"
    RAW = "raw"
    DAY = "day"
    NEW = "new"


@dataclass(eq=False)
class Entry:
    """One thing on the screen."""

    kind: Kind
    text: str
    at: datetime
    who: str = ""
    outgoing: Outgoing | None = None  # ours
    partner: str = ""  # ours: to whom
    retried: bool = False  # said again under another id
    drawn: Any = field(default=None, repr=False)  # the view keeps its work here

    @property
    def failed(self) -> bool:
        """Ours, and it may not have arrived or surely hasn't."""
        return self.outgoing is not None and self.outgoing.fate in (DeliveryStatus.UNCONFIRMED, DeliveryStatus.REFUSED)


class Transcript:
    """The last `KEPT` entries, or fewer if they are long."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.speakers: dict[str, None] = {}  # who has said something
        self._size = 0  # characters
        self._day: date | None = None
        self._new: Entry | None = None

    def add(self, entry: Entry) -> Entry:
        """Append; a day line goes before the first of a day."""
        if entry.at.date() != self._day:
            self._day = entry.at.date()
            self.entries.append(Entry(Kind.DAY, "", entry.at))
        self.entries.append(entry)
        self._size += len(entry.text)
        self._trim()
        return entry

    def _trim(self) -> None:
        """Let go of what is old."""
        gone = max(0, len(self.entries) - KEPT)
        self._size -= sum(len(entry.text) for entry in self.entries[:gone])
        while self._size > KEPT_TEXT and gone < len(self.entries) - 1:
            self._size -= len(self.entries[gone].text)
            gone += 1
        del self.entries[:gone]
        if len(self.entries) > DRAWN:
            self.entries[-DRAWN - 1].drawn = None

    def text(self, who: str, text: str, at: datetime) -> Entry:
        """The partner said something."""
        self.speakers[who] = None
        return self.add(Entry(Kind.TEXT, text, at, who))

    def own(self, who: str, outgoing: Outgoing, partner: str) -> Entry:
        """We said something. Whoever writes has read."""
        self.clear_new()
        self.speakers[who] = None
        return self.add(Entry(Kind.TEXT, outgoing.text, datetime.now(), who, outgoing=outgoing, partner=partner))

    def notice(self, text: str) -> Entry:
        """Something happened."""
        return self.add(Entry(Kind.NOTICE, text, datetime.now()))

    def help(self, text: str) -> Entry:
        """Something was explained; no search finds it."""
        return self.add(Entry(Kind.HELP, text, datetime.now()))

    def error(self, text: str) -> Entry:
        """Something didn't work."""
        return self.add(Entry(Kind.ERROR, text, datetime.now()))

    def raw(self, text: str) -> Entry:
        """A frame went by."""
        return self.add(Entry(Kind.RAW, text, datetime.now()))

    def mark_new(self) -> None:
        """What comes next has not been seen: a line says so, unless there is one already."""
        if self._new is None:
            self._new = self.add(Entry(Kind.NEW, "", datetime.now()))

    def clear_new(self) -> None:
        """Everything has been seen."""
        new, self._new = self._new, None
        if new is not None and new in self.entries:
            self.entries.remove(new)

    def clear(self) -> None:
        """Empty the screen; what has no fate yet or failed stays, since `/retry` may want it."""
        kept = [entry for entry in self.entries if entry.outgoing and not entry.retried and self._open(entry)]
        self.entries, self._size, self._new, self._day = [], 0, None, None
        for entry in kept:
            self.add(entry)

    @staticmethod
    def _open(entry: Entry) -> bool:
        return entry.failed or (entry.outgoing is not None and entry.outgoing.fate is DeliveryStatus.PENDING)

    def failed(self) -> Iterator[Entry]:
        """What could be said again."""
        return (entry for entry in self.entries if entry.failed and not entry.retried)

    def find(self, words: str) -> list[Entry]:
        """Texts that hold these words, in whatever case, oldest first."""
        wanted = words.casefold()
        return [e for e in self.entries if e.kind in (Kind.TEXT, Kind.NOTICE) and wanted in e.text.casefold()]
