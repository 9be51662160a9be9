"""The messages that one client sends: their numbering, the bounds of the window, and the outcome of every id."""

from typing import TYPE_CHECKING, Final

from relay.metrics import Limit
from relay.protocol.commands_and_events import Acked, Refused, Say, Unconfirmed
from relay.protocol.errors import MESSAGES, Code, Reason
from relay.session.chat import Chat, Outcomes
from relay.session.memory_budget import MESSAGE_BYTES, PLENTY
from relay.session.unacked_messages import UnackedMessages, joined, size

if TYPE_CHECKING:
    from relay.session.session import Session


# Times are whole milliseconds in floats, so a difference of one millisecond might count as a little more than one.
# Subtracting this is cheaper than rounding, which would cost more than all other counting of a message.
ROUNDING: Final = 1e-6


class SendWindow:
    """Numbers a client's messages. Ids rise by one from 1 through the session, across chats; each gets one outcome."""

    __slots__ = ("_session", "full_id", "next_id", "outcomes", "seen", "unsure")

    def __init__(self, session: "Session") -> None:
        self._session = session
        self.next_id = 1  # the id of the next new message
        self.seen = 0  # the highest id that came; after a resume, ids between it and `next_id` may come again
        self.unsure = False  # the client sent messages on another node, and it isn't known up to which id
        self.full_id = 0  # the id that was refused by a full window: higher ids are refused until it comes; 0: none
        self.outcomes = Outcomes()

    def let_go(self) -> None:
        """Drop the reference to the session, which is over."""
        del self._session

    def say(self, command: Say) -> None:
        """Put a message under way to the partner, or tell the client why not. Without an id it gets the next one."""
        session, id = self._session, command.id
        chat = session.chat
        if id is not None and id <= self.seen:
            self._said_again(id, command)
        elif chat is None and command.chat is None:
            session.refuse(Code.NOT_PAIRED, id=id)
        elif id is not None and 0 < self.full_id < id:
            session.refuse(Code.WINDOW_FULL, id=id)
        elif id is not None and id > self.next_id and not self.unsure:
            self._out_of_order(id)
        elif chat is None or (command.chat is not None and command.chat != chat.id):
            self._not_sent(command, command.chat or "", self.outcomes.why(command.chat or ""))
        elif chat.half_closed:
            self._not_sent(command, chat.id, Reason.QUIT)
        elif session.acks and self.full(chat.unacked, size(command.text)):
            session.runtime.counts.hit(Limit.WINDOW)
            self.full_id = id or 0
            session.refuse(Code.WINDOW_FULL, id=id)
        else:
            self._put_under_way(chat, id, command.text)

    def room(self, said: Say) -> int:
        """Return how many messages may follow `said`, which was just handled, before the window may be full.

        If they have the next ids, the same `chat` and at most `room_bytes` in all, `say_on` takes them at once.
        Returns 0 if each of them needs a `say` of its own.
        """
        session, chat = self._session, self._session.chat
        if (
            chat is None
            or chat.half_closed
            or said.chat not in (None, chat.id)
            or session.runtime.memory_budget.allowance < PLENTY
        ):
            return 0
        if said.id is not None and not said.id == self.seen == self.next_id - 1:
            return 0
        return session.runtime.limits.window - chat.unacked.count

    @property
    def room_bytes(self) -> int:
        """Bytes of text that `say_on` may take (see `room`)."""
        chat = self._session.chat
        return 0 if chat is None else self._session.runtime.limits.window_bytes - chat.unacked.bytes

    def say_on(self, texts: list[str]) -> None:
        """Put messages under way for which there is `room`, with the effect of one `say` for each."""
        runtime, chat = self._session.runtime, self._session.chat
        assert chat is not None
        if chat.say_on(self.next_id, texts, runtime.now, runtime.flush_generation):
            runtime.counts.accepted += len(texts)
            self.seen += len(texts)
            self.next_id = self.seen + 1
            return
        for text in texts:
            self._put_under_way(chat, None, text)

    def _put_under_way(self, chat: Chat, id: int | None, text: str) -> None:
        session = self._session
        runtime = session.runtime
        runtime.counts.accepted += 1
        # A message that was already sent on another node keeps its time from there.
        at = runtime.now if id is None or id >= self.next_id else self.outcomes.when(id) or runtime.now
        mail = chat.say(self._assign_id(id), text, session.fencing_token, at, runtime.flush_generation)
        if mail is not None:
            runtime.post(chat.partner.node_id, mail)

    def _said_again(self, id: int, command: Say) -> None:
        """Repeat the outcome of an id that came again, if it has one. A message that is still under way is ignored."""
        session, text = self._session, command.text
        under_way = session.chat.unacked.find(id) if session.chat else None
        if under_way is None:
            chat, reason = self.outcomes.of(id)
            if reason is None and command.chat not in (None, chat):
                # The partner had later ones when `known` was called, but this one was said in a chat before: a node
                # that is gone knew its outcome.
                chat, reason = command.chat, self.outcomes.why(command.chat or "")
            if reason is None:
                session.runtime.tell(session, Acked(id, chat or "", self.outcomes.when(id)))
            else:
                session.runtime.tell(session, Unconfirmed(id, id, reason, (text,), chat))
        elif under_way != text:
            self._out_of_order(id)

    def _out_of_order(self, id: int) -> None:
        refusal = Refused(Code.BAD_ORDER, MESSAGES[Code.BAD_ORDER], id=id, expected=self.next_id)
        self._session.runtime.tell(self._session, refusal)

    def _assign_id(self, id: int | None) -> int:
        """Give a new message its id, and return that."""
        self.seen = id = self.next_id if id is None else id
        if id >= self.next_id:
            self.next_id = id + 1
        self.unsure, self.full_id = False, 0
        return id

    def _not_sent(self, command: Say, chat: str, reason: Reason) -> None:
        self._session.runtime.counts.accepted += 1
        self._report(self._assign_id(command.id), [command.text], chat, reason)

    def inherited(self) -> None:
        """Note that the session comes from another node, and only that node knew how far its ids went."""
        self.unsure = True

    def resume(self, sent: int | None) -> None:
        """Note that the client resumes and has used ids up to `sent`. New ids go on from there; unseen ones may come.

        None means that the client doesn't say. If nobody else knows either, the first id that comes is accepted.
        """
        self.full_id = 0
        if sent is not None:
            self.next_id, self.unsure = max(self.next_id, sent + 1), False

    def known(self, chat: Chat, last: int) -> None:
        """Note that the partner has everything up to `last`, including messages that another node sent."""
        if last > self.seen:
            self.outcomes.record(self.seen + 1, last, chat.id, None)
            self.seen, self.next_id, self.unsure = last, max(self.next_id, last + 1), False

    def full(self, unacked: UnackedMessages, more: int) -> bool:
        """Return whether a message of `more` bytes has to wait. An empty window takes one of any length."""
        runtime, count = self._session.runtime, unacked.count
        if not count:
            return False
        wanted, limits = unacked.bytes + more, runtime.limits
        return (
            count >= limits.window
            or wanted > limits.window_bytes
            or wanted + MESSAGE_BYTES * count > runtime.memory_budget.allowance
        )

    def acked(self, chat: Chat, id: int, at: float | None = None) -> None:
        """Handle the partner's ack: it has everything up to `id`. `at` is when it was told that `id` was said."""
        taken = chat.unacked.pop_upto(id)
        if not taken:
            if self.seen < id < self.next_id:  # sent by a node that is gone; the client needn't send it again
                self.known(chat, id)
                self._session.runtime.tell(self._session, Acked(id, chat.id, at or self.outcomes.when(id)))
            return
        session, outcomes = self._session, self.outcomes
        runtime, times, said = session.runtime, outcomes.times, taken[-1].at
        if at is not None and at != said:  # sent again here, and the partner has it from an earlier node
            times.note(id, 1, at)
            said = times.of(id) or at
        runtime.counts.latency.observe(max(0.0, runtime.now - taken[0].at - ROUNDING))  # the clock may have been set
        last = 0
        for run in taken:
            first, count = run.id, len(run.texts)
            last = first + count - 1
            runtime.counts.acknowledged += count
            outcomes.record(first, last, chat.id, None)
            times.note(first, count, run.at)
        runtime.tell(session, Acked(last, chat.id, said))
        if chat.paused:
            self.go_on(chat)

    def go_on(self, chat: Chat) -> None:
        """Post the waiting messages for which there is room, because the partner reads again."""
        session, runtime = self._session, self._session.runtime
        for mail in chat.go_on(session.fencing_token):
            runtime.post(chat.partner.node_id, mail)

    def close(self, chat: Chat, reason: Reason, last: int) -> None:
        """Give all ids an outcome at the end of a chat: up to `last` acknowledged, the others unconfirmed."""
        self.full_id = 0
        self.acked(chat, last)
        for first, texts in joined(chat.unacked.pop_all()):
            self._report(first, texts, chat.id, reason)

    def _report(self, first: int, texts: list[str], chat: str, reason: Reason) -> None:
        last = first + len(texts) - 1
        self._session.runtime.counts.unconfirmed[reason] += len(texts)
        self.outcomes.record(first, last, chat, reason)
        self._session.runtime.tell(self._session, Unconfirmed(first, last, reason, tuple(texts), chat))
