"""The texts that the partner has not acknowledged yet, in the order of their ids. No I/O.

A text that the node refuses takes no id, and each of those that followed it on the wire is refused for that, whatever
the code. So after a refusal everything behind it is numbered and written again (go-back-N); nothing is lost and nothing
is doubled, because the node took none of it. The refusals that are still to come for what was written before count for
nothing: they are answers to texts that are being written again.

Ids that were in use before a resume are another matter: the node takes those behind one that it refused. And such a
text may have gone out on the connection before: it is not refused, but unconfirmed.
"""

from collections.abc import Callable, Iterable

from pairchat.errors import NotARelay
from pairchat.events import DeliveryStatus, Outgoing
from pairchat.saved_session import Said

NOT_SENT = "not_sent"  # beside the node's codes: a text that was never handed to a connection
_RETRIED = frozenset({"window_full", "rate_limited"})  # not now, but the same text may go later


def size_of(text: str) -> int:
    """The bytes of a text. Raises ValueError, with the place, for half of a surrogate pair, which nothing can carry."""
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        why = f"a text must be Unicode: its character {error.start + 1} ({half}) is half of a surrogate pair"
        raise ValueError(why) from None


class Outbox:
    """Ids, windows and fates of what was said in one session."""

    def __init__(self, window: int, window_bytes: int) -> None:
        self.window = window
        self.window_bytes = window_bytes
        self.pending: list[Outgoing] = []
        self.sent = 0  # the highest id in use
        self._bytes = 0
        self._held = False  # the node's window was full: wait for an acknowledgement
        self._stale = 0  # refusals still to come for texts that are being written again
        self._floor = 0  # the highest id in use when the session was resumed

    def room(self, size: int) -> bool:
        """Whether a text of `size` bytes fits into the window now. A single text always does; the node judges it."""
        if not self.pending:
            return True
        return len(self.pending) < self.window and self._bytes + size <= self.window_bytes

    def add(self, text: str, chat: str, by: str) -> Outgoing:
        """Give a text the next id. The caller has made sure that there is `room`."""
        entry = Outgoing(self.sent + 1, text, chat, by, size_of(text))
        self.sent += 1
        self.pending.append(entry)
        self._bytes += entry.size
        return entry

    def drop_last(self) -> None:
        """Undo the last `add`: the text was never written."""
        self._bytes -= self.pending.pop().size
        self.sent -= 1

    def to_write(self) -> list[Outgoing]:
        """What the connection has to carry now; the caller writes it."""
        if self._held:
            return []
        fresh = [entry for entry in self.pending if not entry.written]
        for entry in fresh:
            entry.written = entry.tried = True
        return fresh

    def reopen(self, window: int, window_bytes: int) -> None:
        """Another connection serves the session: what has no fate goes again, under the same ids."""
        self.window, self.window_bytes = window, window_bytes
        self._held, self._stale = False, 0
        for entry in self.pending:
            entry.written, entry.earlier = False, entry.tried

    def promise(self) -> int:
        """The highest id in use, to be told to the node that is asked for the session."""
        self._floor = self.sent
        return self.sent

    def forsake(self, chat: str | None) -> list[Outgoing]:
        """What never reached a node and belongs to another chat than this one won't go any more.

        Only right after a resume: the node was told of these ids, so leaving them out makes no jump.
        """
        return self._settle(lambda entry: not entry.tried and entry.chat != chat, DeliveryStatus.REFUSED, NOT_SENT)

    @property
    def memory(self) -> tuple[Said, ...]:
        """What has no fate."""
        return tuple(Said(e.id, e.text, e.chat, e.by, e.tried) for e in self.pending)

    def recall(self, sent: int, pending: tuple[Said, ...]) -> None:
        """Be the outbox that was remembered."""
        self.sent = sent
        for said in pending:
            entry = Outgoing(said.id, said.text, said.chat, said.by, len(said.text.encode()))
            entry.tried = said.tried
            self.pending.append(entry)
        self._bytes = _total(self.pending)

    def acknowledged(self, last: int, chat: str, at: float | None = None) -> list[Outgoing]:
        """Everything of `chat` up to the id `last`, which has this time, has arrived."""
        self._held = False
        for entry in self.pending:
            if entry.id == last and entry.chat == chat:
                entry.at = at
        return self._settle(lambda entry: entry.id <= last and entry.chat == chat, DeliveryStatus.DELIVERED, "")

    def unconfirmed(self, first: int, last: int, reason: str) -> list[Outgoing]:
        """No acknowledgement will come for these ids, both ends included."""
        self._held = False
        return self._settle(lambda entry: first <= entry.id <= last, DeliveryStatus.UNCONFIRMED, reason)

    def abandon(self, reason: str) -> list[Outgoing]:
        """The session is over: no acknowledgement will come for anything. What never left has surely not arrived."""
        tried = self._settle(lambda entry: entry.tried, DeliveryStatus.UNCONFIRMED, reason)
        return tried + self._settle(lambda entry: True, DeliveryStatus.REFUSED, NOT_SENT)

    def refused(self, id: int, code: str) -> list[Outgoing]:
        """The node did not take the text `id`, nor what followed it. Returns what is settled by that."""
        if self._stale:
            self._stale -= 1
            return []
        if code == "bad_order":
            raise NotARelay("the relay has lost count of our messages")
        entry = next((entry for entry in self.pending if entry.id == id and entry.written), None)
        if entry is None:
            return []
        # With nothing before it in the window no acknowledgement can make room: waiting would be for ever.
        if code in _RETRIED and entry is not self.pending[0]:
            self._take_back(entry.id)
            self._held = True
            return []
        if entry.id > self._floor:
            self._take_back(entry.id)
        return self._give_up(entry, code)

    def refused_longest(self, code: str) -> list[Outgoing]:
        """A node that doesn't say which found a line too long. If it is any of several, it is the longest for sure."""
        written = [entry for entry in self.pending if entry.written]
        if not written:
            return []
        return self.refused(max(written, key=lambda entry: entry.size).id, code)

    def give_up_if(self, too_long: Callable[[Outgoing], bool]) -> list[Outgoing]:
        """After a resume: this node wouldn't take these, though another one may have."""
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
