"""One chat as one side sees it: the messages to the partner, those from the partner, and the outcome of each id."""

from typing import Final

from msgspec import Struct

from relay.protocol.errors import Reason
from relay.session.peer_messages import Ack, Resync, Text
from relay.session.recent_message_times import RecentMessageTimes
from relay.session.unacked_messages import UnackedMessages, size
from relay.shared_types import Party

# This many bytes may be in flight to a client that hasn't taken them: enough for any round trip, small beside Redis'
# output buffers, and all that a client that doesn't read costs its node. The rest of a window waits with the sender.
FLIGHT_BYTES: Final = 64 * 1024
# This many spans of outcomes are remembered for ids that are sent again. A client that resumes repeats at most one
# window.
OUTCOMES_KEPT: Final = 512
# For this many ended chats the reason is remembered, for messages that were written to them and arrive late.
PAST_KEPT: Final = 32


class _Span(Struct, gc=False):
    """A range of ids with the same outcome. A `reason` of None means acknowledged."""

    first: int
    last: int
    chat: str
    reason: Reason | None


class Outcomes:
    """The outcomes of ids: those acknowledged with their chat, and those reported unconfirmed with the reason."""

    __slots__ = ("_past", "known_times", "spans")

    def __init__(self) -> None:
        # An empty deque and an empty OrderedDict would cost every idle client 0.7 KB.
        self.spans: list[_Span] = []
        self._past: dict[str, Reason] | None = None
        self.known_times: RecentMessageTimes | None = None  # see `times`

    @property
    def times(self) -> RecentMessageTimes:
        """The times of messages that have an outcome, and of messages that were said on another node."""
        if self.known_times is None:
            self.known_times = RecentMessageTimes()
        return self.known_times

    def when(self, id: int) -> float | None:
        """Return the Unix time at which the message was said, or None if it isn't known."""
        return self.known_times.of(id) if self.known_times is not None else None

    def record(self, first: int, last: int, chat: str, reason: Reason | None) -> None:
        """Record the outcome of the ids from `first` to `last`. A `reason` of None means acknowledged.

        Adjacent acknowledged spans of a chat are merged.
        """
        spans = self.spans
        if reason is None and spans:
            span = spans[-1]
            if span.last + 1 == first and span.reason is None and span.chat == chat:
                span.last = last
                return
        spans.append(_Span(first, last, chat, reason))
        if len(spans) > OUTCOMES_KEPT:
            del spans[0]

    def of(self, id: int) -> tuple[str | None, Reason | None]:
        """Return the chat and the outcome of an id. A forgotten one counts as lost: it may or may not have arrived."""
        for span in reversed(self.spans):
            if span.first <= id <= span.last:
                return span.chat, span.reason
        return None, Reason.LOST

    def ended(self, chat: str, reason: Reason) -> None:
        """Record why a chat ended."""
        past = self._past
        if past is None:
            past = self._past = {}
        past[chat] = reason
        if len(past) > PAST_KEPT:
            del past[next(iter(past))]

    def why(self, chat: str) -> Reason:
        """Return why a chat ended, or `lost` if that is forgotten."""
        return self._past.get(chat, Reason.LOST) if self._past else Reason.LOST


class Chat:
    """A chat that was announced to this side, or is about to be."""

    __slots__ = (
        "absences",
        "away",
        "confirmed",
        "denials",
        "flow_acked",
        "flow_unreported",
        "gap",
        "half_closed",
        "id",
        "open_generation",
        "open_text",
        "partner",
        "paused",
        "received",
        "retold",
        "sent",
        "times",
        "unacked",
    )

    def __init__(self, id: str, partner: Party) -> None:
        self.id = id
        self.partner = partner
        self.unacked = UnackedMessages()
        self.received = 0  # highest partner id that this side was told
        self.times = RecentMessageTimes()  # the times of the partner's messages that came here, also of those not told
        self.retold = 0  # highest partner id that may have come with a different time than before
        self.confirmed = 0  # highest partner id that this side acknowledged
        self.away = False  # the partner's client is gone and may come back
        self.absences = 0  # number of the partner's absences
        self.denials = 0  # see `relay.session.resume.denied`
        self.gap = False  # the partner was asked to send again
        self.half_closed = False  # the partner's client is gone for good; only its last messages are still to come
        self.flow_unreported = 0  # bytes told to a client that sends its own acks, and not yet reported by a FlowAck
        self.flow_acked = 0  # highest id that the partner's kernel has taken, as its last FlowAck said
        self.paused = False  # messages wait in the window, because the partner doesn't read
        self.sent = 0  # highest id that has left for the partner
        self.open_text: Text | None = None  # the peer message of this tick that further messages can be added to
        self.open_generation = -1  # the flush generation of `open_text`

    def say(self, id: int, text: str, fencing_token: int, at: float, generation: int) -> Text | None:
        """Put a message under way. `generation` is the flush generation.

        Returns the peer message to post, or None if the text was added to a posted one or has to wait.
        """
        unacked = self.unacked
        unacked.add_one(id, text, at)
        if (self.away or unacked.bytes > FLIGHT_BYTES) and not self._may_leave():
            return None
        run = self.open_text
        if run is not None and self.open_generation == generation and id == run.id + len(run.texts) and at == run.at:
            run.texts.append(text)
            self.sent = id
            return None
        run = Text(self.partner.canonical_name, self.id, fencing_token, id, self.sent, at=at, texts=[text])
        self.open_text, self.open_generation, self.sent = run, generation, id
        return run

    def say_on(self, id: int, texts: list[str], at: float, generation: int) -> bool:
        """Put several messages under way, with ids from `id` on. Returns False if each needs a `say` of its own.

        They are added to the previous message's peer message all at once. One by one they would cost three times as
        much.
        """
        run, unacked = self.open_text, self.unacked
        if run is None or self.open_generation != generation or id != run.id + len(run.texts) or at != run.at:
            return False
        if self.paused or self.away:
            return False
        if unacked.bytes + size("".join(texts)) > FLIGHT_BYTES:  # one call for all of them
            return False
        unacked.add(id, texts, at)
        run.texts += texts
        self.sent += len(texts)
        return True

    def _may_leave(self) -> bool:
        """Return whether the message that was just added may leave now, and set `paused` if it may not."""
        if not self.paused:
            self.paused = self.away or self.unacked.between(self.flow_acked, self.sent) >= FLIGHT_BYTES
        return not self.paused

    def go_on(self, fencing_token: int) -> list[Text]:
        """Return peer messages with the waiting texts for which there is room now."""
        leaving, self.paused = self.unacked.next(
            self.sent, FLIGHT_BYTES - self.unacked.between(self.flow_acked, self.sent)
        )
        mails: list[Text] = []
        for id, text, at in leaving:
            if not mails or id != self.sent + 1 or at != mails[-1].at:
                mails.append(Text(self.partner.canonical_name, self.id, fencing_token, id, self.sent, at=at, texts=[]))
            mails[-1].texts.append(text)
            self.sent = id
        self.open_text = None
        return mails

    def retransmit(self, fencing_token: int) -> list[Text]:
        """Return peer messages with all unacknowledged texts, from the first on, because the partner may lack them."""
        if self.unacked:
            self.sent = self.flow_acked = 0
        return self.go_on(fencing_token)

    def receive(self, mail: Text) -> list[str] | None:
        """Receive the partner's messages. Returns the new ones, the last of which has the id `received` now.

        Returns None if messages before them are missing.
        """
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
        """Acknowledge the partner's messages up to `upto`. Returns None if they were acknowledged before."""
        if upto > self.received:
            upto = self.received
        if upto <= self.confirmed:
            return None
        self.confirmed = upto
        # Mostly the partner's node knows the time, so the call of `ack` is saved for each message.
        return self.ack() if upto <= self.retold else Ack(self.partner.canonical_name, self.id, upto)

    def ack(self) -> Ack:
        """Return an acknowledgement up to `confirmed`, with the time if the partner's node may not know it."""
        at = self.times.of(self.confirmed) if self.confirmed <= self.retold else None
        return Ack(self.partner.canonical_name, self.id, self.confirmed, at)

    def gone_away(self) -> None:
        """Note that the partner's client is gone and may come back."""
        self.away = True
        self.absences += 1

    def came_back(self) -> None:
        """Note that the partner's client is back."""
        self.away = False

    def forget_untold(self) -> None:
        """Forget the messages that the client didn't acknowledge before it was gone: they have to be sent again."""
        self.received = self.confirmed

    def caught_up(self, last: int) -> Ack | None:
        """Note that a resumed client has the partner's messages up to `last`. Returns the ack that is due, if any."""
        self.received = max(self.received, last)
        return self.confirm(last)

    @property
    def unacked_times(self) -> tuple[int, list[float]]:
        """The highest id without acknowledgement, and the times of the messages up to it."""
        times = RecentMessageTimes()
        for run in self.unacked.runs:
            times.note(run.id, len(run.texts), run.at)
        return times.latest

    def sync(self, party: Party, *, reply: bool, away: bool = False) -> Resync:
        """Return a `Resync`, which tells the partner where this side lives and what it has to send again.

        With `reply` the partner answers with a `Resync` of its own.
        """
        timed, times = self.times.latest
        if reply:
            at = self.times.of(self.confirmed)
            timed, times = (self.confirmed, [at]) if at is not None else (0, [])
        return Resync(
            self.partner.canonical_name, self.id, party, self.confirmed, reply, away=away, timed=timed, times=times
        )
