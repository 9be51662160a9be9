"""What one client says: its numbering, the bounds of what may be under way, and the outcome of every id."""

from typing import TYPE_CHECKING, Final

from relay.metrics import Limit
from relay.protocol.errors import MESSAGES, Code, Reason
from relay.protocol.events import Acked, Refused, Say, Unconfirmed
from relay.session.chat import Chat, Outcomes
from relay.session.memory_budget import MESSAGE_BYTES, PLENTY
from relay.session.window import Window, joined, size

if TYPE_CHECKING:
    from relay.session.session import Session


# Times are whole milliseconds in floats: without this one of them might count as a little more than one. Rounding would
# cost more than all other counting of a message.
ROUNDING: Final = 1e-6


class SentMessages:
    """Ids start at 1 and rise by one through the session, across chats; each ends in exactly one outcome."""

    __slots__ = ("_full", "_next", "_seen", "_session", "_unsure", "outcomes")

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._next = 1  # the id of the next new message
        self._seen = 0  # the highest id that came; after a resume, those up to `_next` may come once more
        self._unsure = False  # the client numbered on another node, and nobody has said how far
        self._full = 0  # the id that found the window full: those behind it wait for it to come again; 0: none
        self.outcomes = Outcomes()

    def let_go(self) -> None:
        """The session is over: nothing here refers to it any more."""
        del self._session

    def say(self, command: Say) -> None:
        """Put a message under way to the partner, or tell why not. A client that knows no ids gets the next one."""
        session, id = self._session, command.id
        chat = session.chat
        if id is not None and id <= self._seen:
            self._said_again(id, command.text)
        elif chat is None and command.chat is None:
            session.refuse(Code.NOT_PAIRED, id=id)
        elif id is not None and 0 < self._full < id:
            session.refuse(Code.WINDOW_FULL, id=id)
        elif id is not None and id > self._next and not self._unsure:
            self._out_of_order(id)
        elif chat is None or (command.chat is not None and command.chat != chat.id):
            self._not_sent(command, command.chat or "", self.outcomes.why(command.chat or ""))
        elif chat.deaf:
            self._not_sent(command, chat.id, Reason.QUIT)
        elif session.acks and self.full(chat.window, size(command.text)):
            session.host.counts.hit(Limit.WINDOW)
            self._full = id or 0
            session.refuse(Code.WINDOW_FULL, id=id)
        else:
            self._put_under_way(chat, id, command.text)

    def room(self, said: Say) -> int:
        """How many messages may follow on one that has just been said, to the same end, before the window may be full.

        They must have the next ids, the same `chat`, and no more bytes than `room_bytes`; then `say_on` takes them all.
        """
        session, chat = self._session, self._session.chat
        if chat is None or chat.deaf or said.chat not in (None, chat.id) or session.host.allowance < PLENTY:
            return 0
        if said.id is not None and not said.id == self._seen == self._next - 1:
            return 0
        return session.host.limits.window - chat.window.count

    @property
    def room_bytes(self) -> int:
        """See `room`."""
        chat = self._session.chat
        return 0 if chat is None else self._session.host.limits.window_bytes - chat.window.bytes

    def say_on(self, texts: list[str]) -> None:
        """Put messages under way for which there is `room`: as `say` would one by one."""
        host, chat = self._session.host, self._session.chat
        assert chat is not None
        if chat.say_on(self._next, texts, host.now, host.flush_generation):
            host.counts.taken += len(texts)
            self._seen += len(texts)
            self._next = self._seen + 1
            return
        for text in texts:
            self._put_under_way(chat, None, text)

    def _put_under_way(self, chat: Chat, id: int | None, text: str) -> None:
        session = self._session
        host = session.host
        host.counts.taken += 1
        # An id that may have been said on another node has the time of that.
        at = host.now if id is None or id >= self._next else self.outcomes.when(id) or host.now
        mail = chat.say(self._take(id), text, session.fencing_token, at, host.flush_generation)
        if mail is not None:
            host.post(chat.partner.node_id, mail)

    def _said_again(self, id: int, text: str) -> None:
        """Repeat a known outcome; a message that is still under way is left alone."""
        session = self._session
        under_way = session.chat.window.find(id) if session.chat else None
        if under_way is None:
            chat, reason = self.outcomes.of(id)
            if reason is None:
                session.host.tell(session, Acked(id, chat or "", self.outcomes.when(id)))
            else:
                session.host.tell(session, Unconfirmed(id, id, reason, (text,), chat))
        elif under_way != text:
            self._out_of_order(id)

    def _out_of_order(self, id: int) -> None:
        refusal = Refused(Code.BAD_ORDER, MESSAGES[Code.BAD_ORDER], id=id, expected=self._next)
        self._session.host.tell(self._session, refusal)

    def _take(self, id: int | None) -> int:
        """The message takes its id."""
        self._seen = id = self._next if id is None else id
        if id >= self._next:
            self._next = id + 1
        self._unsure, self._full = False, 0
        return id

    def _not_sent(self, command: Say, chat: str, reason: Reason) -> None:
        self._session.host.counts.taken += 1
        self._report(self._take(command.id), [command.text], chat, reason)

    def inherited(self) -> None:
        """The session comes from another node, which alone knew its ids."""
        self._unsure = True

    def resume(self, sent: int | None) -> None:
        """The client comes back, having numbered up to `sent`: new ids go on from there; those not seen may come.

        None: it doesn't say. Where nobody else knows either, the first id that comes is right.
        """
        self._full = 0
        if sent is not None:
            self._next, self._unsure = max(self._next, sent + 1), False

    def known(self, chat: Chat, last: int) -> None:
        """The partner has everything up to `last`, also what another node sent."""
        if last > self._seen:
            self.outcomes.record(self._seen + 1, last, chat.id, None)
            self._seen, self._next, self._unsure = last, max(self._next, last + 1), False

    def full(self, window: Window, more: int) -> bool:
        """Whether a message of `more` bytes has to wait. One alone is always let through, however long."""
        host, count = self._session.host, window.count
        if not count:
            return False
        wanted, limits = window.bytes + more, host.limits
        return count >= limits.window or wanted > limits.window_bytes or wanted + MESSAGE_BYTES * count > host.allowance

    def acked(self, chat: Chat, id: int, at: float | None = None) -> None:
        """The partner has everything up to `id`, which was said at `at` as far as the partner was told."""
        taken = chat.window.take(id)
        if not taken:
            if self._seen < id < self._next:  # said on a node that is gone; the client needn't say it again
                self.known(chat, id)
                self._session.host.tell(self._session, Acked(id, chat.id, at or self.outcomes.when(id)))
            return
        session, outcomes = self._session, self.outcomes
        host, times, said = session.host, outcomes.times, taken[-1].at
        if at is not None and at != said:  # said again here, and the partner knows it from an earlier node
            times.note(id, 1, at)
            said = times.of(id) or at
        host.counts.latency.observe(max(0.0, host.now - taken[0].at - ROUNDING))  # the clock may have been set
        last = 0
        for run in taken:
            first, count = run.id, len(run.texts)
            last = first + count - 1
            host.counts.acknowledged += count
            outcomes.record(first, last, chat.id, None)
            times.note(first, count, run.at)
        host.tell(session, Acked(last, chat.id, said))
        if chat.held:
            self.go_on(chat)

    def go_on(self, chat: Chat) -> None:
        """The partner reads again."""
        session, host = self._session, self._session.host
        for mail in chat.go_on(session.fencing_token):
            host.post(chat.partner.node_id, mail)

    def close(self, chat: Chat, reason: Reason, last: int) -> None:
        """The partner had everything up to `last`; nothing more can be known."""
        self._full = 0
        self.acked(chat, last)
        for first, texts in joined(chat.window.take_all()):
            self._report(first, texts, chat.id, reason)

    def _report(self, first: int, texts: list[str], chat: str, reason: Reason) -> None:
        last = first + len(texts) - 1
        self._session.host.counts.unconfirmed[reason] += len(texts)
        self.outcomes.record(first, last, chat, reason)
        self._session.host.tell(self._session, Unconfirmed(first, last, reason, tuple(texts), chat))
