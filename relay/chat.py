"""One pairing as one side sees it: what is under way to the partner, what came from it, and what became of each id."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final

from relay.errors import Reason
from relay.mail import Ack, Party, Sync, Text

# Bytes on their way to a client that hasn't taken them: enough for any round trip, small beside Redis' output buffers,
# and all that a client that doesn't read costs its node. The rest of a window stays with the sender's node.
FLIGHT_BYTES: Final = 64 * 1024
# Outcomes remembered for ids that are sent again. A client that resumes repeats at most one window.
FATES_KEPT: Final = 512
# Ended chats whose reason is remembered, for messages that were written to them and came late.
PAST_KEPT: Final = 32


def size(text: str) -> int:
    """Bytes of the text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


class Window:
    """Messages that have no acknowledgement yet, in the order of their ids, bounded by who fills it."""

    __slots__ = ("_entries", "bytes")

    def __init__(self) -> None:
        self._entries: deque[tuple[int, int, str, float]] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return ((id, text) for id, _, text, _ in self._entries)

    def add(self, id: int, text: str, at: float) -> None:
        """Keep a message until its outcome is known; it was said at that time."""
        n = size(text)
        self._entries.append((id, n, text, at))
        self.bytes += n

    def find(self, id: int) -> str | None:
        """The text under this id, if its outcome isn't known yet."""
        return next((text for i, _, text, _ in self._entries if i == id), None)

    def take(self, upto: int) -> list[tuple[int, str]]:
        """Remove and return what has an id up to `upto`."""
        entries, taken = self._entries, []
        while entries and entries[0][0] <= upto:
            id, n, text, _ = entries.popleft()
            self.bytes -= n
            taken.append((id, text))
        return taken

    def between(self, after: int, upto: int) -> int:
        """Bytes of the messages with an id above `after` and up to `upto`."""
        return sum(n for id, n, _, _ in self._entries if after < id <= upto)

    def next(self, after: int, room: int) -> tuple[list[tuple[int, str, float]], bool]:
        """The first messages with an id above `after` that begin within `room` bytes, and whether there are more."""
        found: list[tuple[int, str, float]] = []
        for id, n, text, at in self._entries:
            if id > after:
                if room <= 0:
                    return found, True
                room -= n
                found.append((id, text, at))
        return found, False

    def take_all(self) -> list[tuple[int, str]]:
        """Remove and return everything."""
        return self.take(self._entries[-1][0]) if self._entries else []


def runs(entries: list[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Split at jumps of the id: an `unconfirmed` names a range."""
    run: list[tuple[int, str]] = []
    for entry in entries:
        if run and entry[0] != run[-1][0] + 1:
            yield run
            run = []
        run.append(entry)
    if run:
        yield run


class Fates:
    """What became of ids: which were acknowledged in which chat, which were reported unconfirmed and why."""

    __slots__ = ("_past", "_spans")

    def __init__(self) -> None:
        self._spans: deque[tuple[int, int, str, Reason | None]] = deque(maxlen=FATES_KEPT)
        self._past: OrderedDict[str, Reason] = OrderedDict()

    def record(self, first: int, last: int, chat: str, reason: Reason | None) -> None:
        """Ids from first to last ended so; `reason` None means acknowledged. Acknowledged spans grow together."""
        if reason is None and self._spans:
            f, to, c, r = self._spans[-1]
            if c == chat and r is None and to + 1 == first:
                self._spans[-1] = (f, last, chat, None)
                return
        self._spans.append((first, last, chat, reason))

    def of(self, id: int) -> tuple[str, Reason | None]:
        """Chat and outcome of an id. One too old to be remembered counts as lost: it may or may not have arrived."""
        for first, last, chat, reason in reversed(self._spans):
            if first <= id <= last:
                return chat, reason
        return "", Reason.LOST

    def ended(self, chat: str, reason: Reason) -> None:
        """This chat is over."""
        self._past[chat] = reason
        if len(self._past) > PAST_KEPT:
            self._past.popitem(last=False)

    def why(self, chat: str) -> Reason:
        """Why a chat that is over ended; `lost` where nobody remembers it."""
        return self._past.get(chat, Reason.LOST)


class Chat:
    """A chat that was announced, or is about to be, to this side."""

    __slots__ = (
        "_out",
        "_run",
        "_turn",
        "absences",
        "away",
        "confirmed",
        "deaf",
        "gap",
        "held",
        "id",
        "partner",
        "received",
        "taken",
        "untaken",
        "window",
    )

    def __init__(self, id: str, partner: Party) -> None:
        self.id = id
        self.partner = partner
        self.window = Window()
        self.received = 0  # highest partner id that this side was told
        self.confirmed = 0  # highest partner id that this side acknowledged
        self.away = False  # the partner's client is gone and may come back
        self.absences = 0  # how often that has happened
        self.gap = False  # the partner was asked to send again
        self.deaf = False  # the partner's client is gone for good; only its last words are still to come
        self.untaken = 0  # bytes that the kernel has taken for a client that acknowledges itself, not yet reported
        self.taken = 0  # highest id that the partner's kernel is known to have taken, beside those acknowledged
        self.held = False  # messages wait in the window, because the partner doesn't read
        self._out = 0  # highest id sent in this chat
        self._run: Text | None = None  # mail of this turn that further messages can join
        self._turn = -1

    def say(self, id: int, text: str, fence: int, at: float, turn: int) -> Text | None:
        """Put a message under way. Returns the mail to post; None where it joined what was posted, or has to wait."""
        self.window.add(id, text, at)
        if (self.away or self.window.bytes > FLIGHT_BYTES) and not self._may_leave():
            return None
        run = self._run
        if run is not None and self._turn == turn and id == run.id + len(run.texts):
            run.texts.append(text)
            self._out = id
            return None
        run = Text(self.partner.owned, self.id, fence, id, self._out, at, [text])
        self._run, self._turn, self._out = run, turn, id
        return run

    def _may_leave(self) -> bool:
        """Whether the message that was just added may follow those before it at once."""
        if not self.held:
            self.held = self.away or self.window.between(self.taken, self._out) >= FLIGHT_BYTES
        return not self.held

    def go_on(self, fence: int) -> list[Text]:
        """Mail for what had to wait, as far as there is room now."""
        leaving, self.held = self.window.next(self._out, FLIGHT_BYTES - self.window.between(self.taken, self._out))
        mails: list[Text] = []
        for id, text, at in leaving:
            if not mails or id != self._out + 1 or at != mails[-1].at:
                mails.append(Text(self.partner.owned, self.id, fence, id, self._out, at, []))
            mails[-1].texts.append(text)
            self._out = id
        self._run = None
        return mails

    def again(self, fence: int) -> list[Text]:
        """Mail for what has no acknowledgement, from its start, to a partner that may have missed it."""
        if self.window:
            self._out = self.taken = 0
        return self.go_on(fence)

    def take(self, mail: Text) -> list[tuple[int, str]] | None:
        """The messages of this mail that are new, in order. None: something before them is missing."""
        if mail.prev > self.received:
            return None
        self.gap = False
        skip = max(0, self.received + 1 - mail.id)
        fresh = list(enumerate(mail.texts[skip:], mail.id + skip))
        if fresh:
            self.received = fresh[-1][0]
        return fresh

    def confirm(self, upto: int) -> Ack | None:
        """Acknowledge the partner's messages up to `upto`; None where there is nothing new to say."""
        upto = min(upto, self.received)
        if upto <= self.confirmed:
            return None
        self.confirmed = upto
        return Ack(self.partner.owned, self.id, upto)

    def gone_away(self) -> None:
        """The partner's client is gone and may come back."""
        self.away = True
        self.absences += 1

    def forget_untold(self) -> None:
        """The client is gone: what it hasn't acknowledged will have to come again."""
        self.received = self.confirmed

    def caught_up(self, last: int) -> Ack | None:
        """A client that came back has the partner's messages up to `last`, whether it had acknowledged them or not."""
        self.received = max(self.received, last)
        return self.confirm(last)

    def sync(self, party: Party, *, reply: bool, away: bool = False) -> Sync:
        """Tell the partner where this side lives and what it has acknowledged: all else has to come again."""
        return Sync(self.partner.owned, self.id, party, self.confirmed, reply, away)
