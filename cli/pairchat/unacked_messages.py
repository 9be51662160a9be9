"""This module keeps the texts that the partner has not acknowledged yet, in the order of their ids. It does no I/O.

A text that the node refuses takes no id, and for that reason the node also refuses every text that followed it on the
wire, with any code. So after a refusal the client renumbers and rewrites all texts after it (go-back-N). Nothing is
lost or duplicated, because the node accepted none of them. The refusals that still arrive for the earlier copies are
ignored: those texts are being written again.

Ids that were in use before a resume are different: the node accepts the texts after one that it refused. Such a text
may also have been sent on the earlier connection, and then its outcome is unconfirmed, not refused.
"""

from collections.abc import Callable, Iterable

from pairchat.errors import NotARelay
from pairchat.events import DeliveryStatus, Outgoing
from pairchat.saved_session import Said

NOT_SENT = "not_sent"  # this library's own code, for a text that was never written to a connection
_RETRIED = frozenset({"window_full", "rate_limited"})  # refusals after which the same text may be accepted later


def size_of(text: str) -> int:
    """Return the size of a text in UTF-8 bytes. Raises ValueError with the position of a lone surrogate."""
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        why = f"a text must be Unicode: its character {error.start + 1} ({half}) is half of a surrogate pair"
        raise ValueError(why) from None


class UnackedMessages:
    """The ids, windows and outcomes of the texts of one session."""

    def __init__(self, window: int, window_bytes: int) -> None:
        self.window = window
        self.window_bytes = window_bytes
        self.pending: list[Outgoing] = []
        self.sent = 0  # the highest id in use
        self._bytes = 0
        self._held = False  # True while nothing is written until an acknowledgement, because the node's window was full
        self._stale = 0  # number of refusals that will still arrive for texts that are being written again
        self._floor = 0  # the highest id in use when the session was resumed

    def room(self, size: int) -> bool:
        """Return True if a text of `size` bytes fits into the window now. A single text always fits."""
        if not self.pending:
            return True
        return len(self.pending) < self.window and self._bytes + size <= self.window_bytes

    def add(self, text: str, chat: str, by: str) -> Outgoing:
        """Add a text under the next id. The caller must have checked `room`."""
        entry = Outgoing(self.sent + 1, text, chat, by, size_of(text))
        self.sent += 1
        self.pending.append(entry)
        self._bytes += entry.size
        return entry

    def drop_last(self) -> None:
        """Undo the last `add`. Its text must not have been written."""
        self._bytes -= self.pending.pop().size
        self.sent -= 1

    def to_write(self) -> list[Outgoing]:
        """Return the texts that the caller has to write now, and mark them as written."""
        if self._held:
            return []
        fresh = [entry for entry in self.pending if not entry.written]
        for entry in fresh:
            entry.written = entry.tried = True
        return fresh

    def reopen(self, window: int, window_bytes: int) -> None:
        """Mark all texts without an outcome to be written again, under the same ids, on a new connection."""
        self.window, self.window_bytes = window, window_bytes
        self._held, self._stale = False, 0
        for entry in self.pending:
            entry.written, entry.earlier = False, entry.tried

    def promise(self) -> int:
        """Return the highest id in use, for the resume, and remember it, because refusals depend on it later."""
        self._floor = self.sent
        return self.sent

    def forsake(self, chat: str | None) -> list[Outgoing]:
        """Drop the texts that never reached a node and belong to another chat than `chat`, and return them.

        Call it only right after a resume: the node knows these ids then, so that leaving them out makes no gap.
        """
        return self._settle(lambda entry: not entry.tried and entry.chat != chat, DeliveryStatus.REFUSED, NOT_SENT)

    @property
    def memory(self) -> tuple[Said, ...]:
        """The texts without an outcome, in their saved form."""
        return tuple(Said(e.id, e.text, e.chat, e.by, e.tried) for e in self.pending)

    def recall(self, sent: int, pending: tuple[Said, ...]) -> None:
        """Restore the saved outbox."""
        self.sent = sent
        for said in pending:
            entry = Outgoing(said.id, said.text, said.chat, said.by, len(said.text.encode()))
            entry.tried = said.tried
            self.pending.append(entry)
        self._bytes = _total(self.pending)

    def acknowledged(self, last: int, chat: str, at: float | None = None) -> list[Outgoing]:
        """Settle all texts of `chat` up to the id `last` as delivered, and return them. `at` is that text's time."""
        self._held = False
        for entry in self.pending:
            if entry.id == last and entry.chat == chat:
                entry.at = at
        return self._settle(lambda entry: entry.id <= last and entry.chat == chat, DeliveryStatus.DELIVERED, "")

    def unconfirmed(self, first: int, last: int, reason: str) -> list[Outgoing]:
        """Settle the texts from `first` to `last`, both included, as unconfirmed, and return them."""
        self._held = False
        return self._settle(lambda entry: first <= entry.id <= last, DeliveryStatus.UNCONFIRMED, reason)

    def abandon(self, reason: str) -> list[Outgoing]:
        """Settle all texts when the session is over: as unconfirmed, or as refused if they were never sent."""
        tried = self._settle(lambda entry: entry.tried, DeliveryStatus.UNCONFIRMED, reason)
        return tried + self._settle(lambda entry: True, DeliveryStatus.REFUSED, NOT_SENT)

    def refused(self, id: int, code: str) -> list[Outgoing]:
        """Handle the node's refusal of the text `id` and of those that followed it. Returns the texts settled by it.

        Raises `NotARelay` if the node lost count of the ids.
        """
        if self._stale:
            self._stale -= 1
            return []
        if code == "bad_order":
            raise NotARelay("the relay has lost count of our messages")
        entry = next((entry for entry in self.pending if entry.id == id and entry.written), None)
        if entry is None:
            return []
        # Without an earlier text in the window, no acknowledgement can make room, and waiting would never end.
        if code in _RETRIED and entry is not self.pending[0]:
            self._take_back(entry.id)
            self._held = True
            return []
        if entry.id > self._floor:
            self._take_back(entry.id)
        return self._give_up(entry, code)

    def refused_longest(self, code: str) -> list[Outgoing]:
        """Handle `too_long` from a node that doesn't say which line it refused. The longest is certainly too long."""
        written = [entry for entry in self.pending if entry.written]
        if not written:
            return []
        return self.refused(max(written, key=lambda entry: entry.size).id, code)

    def give_up_if(self, too_long: Callable[[Outgoing], bool]) -> list[Outgoing]:
        """Settle the texts that are too long for this node, after a resume. Another node may have accepted them."""
        return [gone for entry in self.pending if too_long(entry) for gone in self._give_up(entry, "too_long")]

    def _take_back(self, first: int) -> None:
        for entry in self.pending:
            if entry.id >= first and entry.written:
                entry.written = False
                self._stale += entry.id > first

    def _give_up(self, gone: Outgoing, code: str) -> list[Outgoing]:
        fate = DeliveryStatus.UNCONFIRMED if gone.earlier else DeliveryStatus.REFUSED
        settled = self._settle(lambda entry: entry is gone, fate, code)
        if gone.id <= self._floor:
            return settled
        for entry in self.pending:
            if entry.id > gone.id:
                entry.id -= 1
        self.sent -= 1
        return settled

    def _settle(self, which: Callable[[Outgoing], bool], fate: DeliveryStatus, detail: str) -> list[Outgoing]:
        settled = [entry for entry in self.pending if which(entry)]
        for entry in settled:
            entry.fate = fate
            entry.detail = detail
        self.pending = [entry for entry in self.pending if entry.fate is DeliveryStatus.PENDING]
        self._bytes = _total(self.pending)
        return settled


def _total(entries: Iterable[Outgoing]) -> int:
    return sum(entry.size for entry in entries)
