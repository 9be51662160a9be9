"""One pairing as one side sees it: what is under way to the partner, what came from it, and what became of each id."""

from typing import Final

from msgspec import Struct

from relay.model import Party
from relay.protocol.errors import Reason
from relay.session.message_times import MessageTimes
from relay.session.peer_messages import Ack, Resync, Text
from relay.session.window import Window, size

# Bytes on their way to a client that hasn't taken them: enough for any round trip, small beside Redis' output buffers,
# and all that a client that doesn't read costs its node. The rest of a window stays with the sender's node.
FLIGHT_BYTES: Final = 64 * 1024
# Outcomes remembered for ids that are sent again. A client that resumes repeats at most one window.
FATES_KEPT: Final = 512
# Ended chats whose reason is remembered, for messages that were written to them and came late.
PAST_KEPT: Final = 32


class _Span(Struct, gc=False):
    """Ids that ended alike; a `reason` of None means acknowledged."""

    first: int
    last: int
    chat: str
    reason: Reason | None


class Outcomes:
    """What became of ids: which were acknowledged in which chat, which were reported unconfirmed and why."""

    __slots__ = ("_past", "_spans", "_times")

    def __init__(self) -> None:
        # Not a deque and an OrderedDict: empty ones would cost every idle client 0.7 KB.
        self._spans: list[_Span] = []
        self._past: dict[str, Reason] | None = None
        self._times: MessageTimes | None = None

    @property
    def times(self) -> MessageTimes:
        """When what has an outcome was said, and what somebody said on another node."""
        if self._times is None:
            self._times = MessageTimes()
        return self._times

    def when(self, id: int) -> float | None:
        """When that was said, where it is known."""
        return self._times.of(id) if self._times is not None else None

    def record(self, first: int, last: int, chat: str, reason: Reason | None) -> None:
        """Ids from first to last ended so; `reason` None means acknowledged. Acknowledged spans grow together."""
        spans = self._spans
        if reason is None and spans:
            span = spans[-1]
            if span.last + 1 == first and span.reason is None and span.chat == chat:
                span.last = last
                return
        spans.append(_Span(first, last, chat, reason))
        if len(spans) > FATES_KEPT:
            del spans[0]

    def of(self, id: int) -> tuple[str | None, Reason | None]:
        """Chat and outcome of an id. One too old to be remembered counts as lost: it may or may not have arrived."""
        for span in reversed(self._spans):
            if span.first <= id <= span.last:
                return span.chat, span.reason
        return None, Reason.LOST

    def ended(self, chat: str, reason: Reason) -> None:
        """This chat is over."""
        past = self._past
        if past is None:
            past = self._past = {}
        past[chat] = reason
        if len(past) > PAST_KEPT:
            del past[next(iter(past))]

    def why(self, chat: str) -> Reason:
        """Why a chat that is over ended; `lost` where nobody remembers it."""
        return self._past.get(chat, Reason.LOST) if self._past else Reason.LOST


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
        "retold",
        "taken",
        "times",
        "untaken",
        "window",
    )

    def __init__(self, id: str, partner: Party) -> None:
        self.id = id
        self.partner = partner
        self.window = Window()
        self.received = 0  # highest partner id that this side was told
        self.times = MessageTimes()  # of the partner's messages that came here, whether this side was told or not
        self.retold = 0  # highest partner id that may have come with another time than before
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

    def say(self, id: int, text: str, fencing_token: int, at: float, turn: int) -> Text | None:
        """Put a message under way. Returns the mail to post; None where it joined what was posted, or has to wait."""
        window = self.window
        window.add_one(id, text, at)
        if (self.away or window.bytes > FLIGHT_BYTES) and not self._may_leave():
            return None
        run = self._run
        if run is not None and self._turn == turn and id == run.id + len(run.texts) and at == run.at:
            run.texts.append(text)
            self._out = id
            return None
        run = Text(self.partner.canonical_name, self.id, fencing_token, id, self._out, at=at, texts=[text])
        self._run, self._turn, self._out = run, turn, id
        return run

    def say_on(self, id: int, texts: list[str], at: float, turn: int) -> bool:
        """Put messages under way, from this id on. False: each of them has to be looked at by itself.

        They join the mail of the one before, all at once. One by one they cost three times as much.
        """
        run, window = self._run, self.window
        if run is None or self._turn != turn or id != run.id + len(run.texts) or at != run.at:
            return False
        if self.held or self.away:
            return False
        if window.bytes + sum(map(size, texts)) > FLIGHT_BYTES:
            return False
        window.add(id, texts, at)
        run.texts += texts
        self._out += len(texts)
        return True

    def _may_leave(self) -> bool:
        """Whether the message that was just added may follow those before it at once."""
        if not self.held:
            self.held = self.away or self.window.between(self.taken, self._out) >= FLIGHT_BYTES
        return not self.held

    def go_on(self, fencing_token: int) -> list[Text]:
        """Mail for what had to wait, as far as there is room now."""
        leaving, self.held = self.window.next(self._out, FLIGHT_BYTES - self.window.between(self.taken, self._out))
        mails: list[Text] = []
        for id, text, at in leaving:
            if not mails or id != self._out + 1 or at != mails[-1].at:
                mails.append(Text(self.partner.canonical_name, self.id, fencing_token, id, self._out, at=at, texts=[]))
            mails[-1].texts.append(text)
            self._out = id
        self._run = None
        return mails

    @property
    def sent(self) -> int:
        """The highest id that has left for the partner."""
        return self._out

    def retransmit(self, fencing_token: int) -> list[Text]:
        """Mail for what has no acknowledgement, from its start, to a partner that may have missed it."""
        if self.window:
            self._out = self.taken = 0
        return self.go_on(fencing_token)

    def take(self, mail: Text) -> list[str] | None:
        """The messages of this mail that are new, up to the id `received`. None: something before them is missing."""
        received, texts = self.received, mail.texts
        if mail.prev > received:
            return None
        self.gap = False
        skip = received + 1 - mail.id
        if skip > 0:
            texts = texts[skip:]
        if texts:
            self.received = mail.id + len(mail.texts) - 1
        return texts

    def confirm(self, upto: int) -> Ack | None:
        """Acknowledge the partner's messages up to `upto`; None where there is nothing new to say."""
        if upto > self.received:
            upto = self.received
        if upto <= self.confirmed:
            return None
        self.confirmed = upto
        # Mostly the partner's node knows the time: a call less for each message.
        return self.ack() if upto <= self.retold else Ack(self.partner.canonical_name, self.id, upto)

    def ack(self) -> Ack:
        """What this side has acknowledged, and when it was said where the partner's node may not know."""
        at = self.times.of(self.confirmed) if self.confirmed <= self.retold else None
        return Ack(self.partner.canonical_name, self.id, self.confirmed, at)

    def gone_away(self) -> None:
        """The partner's client is gone and may come back."""
        self.away = True
        self.absences += 1

    def came_back(self) -> None:
        """The partner's client is there again."""
        self.away = False

    def forget_untold(self) -> None:
        """The client is gone: what it hasn't acknowledged will have to come again."""
        self.received = self.confirmed

    def caught_up(self, last: int) -> Ack | None:
        """A client that came back has the partner's messages up to `last`, whether it had acknowledged them or not."""
        self.received = max(self.received, last)
        return self.confirm(last)

    @property
    def unsettled(self) -> tuple[int, list[float]]:
        """The highest id that has no acknowledgement, and the times up to it."""
        times = MessageTimes()
        for run in self.window.runs:
            times.note(run.id, len(run.texts), run.at)
        return times.latest

    def sync(self, party: Party, *, reply: bool, away: bool = False) -> Resync:
        """Tell the partner where this side lives and what it has acknowledged: all else has to come again."""
        timed, times = self.times.latest
        if reply:
            at = self.times.of(self.confirmed)
            timed, times = (self.confirmed, [at]) if at is not None else (0, [])
        return Resync(
            self.partner.canonical_name, self.id, party, self.confirmed, reply, away=away, timed=timed, times=times
        )
