"""What one client says: its numbering, the bounds of what may be under way, and the outcome of every id."""

from typing import TYPE_CHECKING

from relay.budget import MESSAGE_BYTES
from relay.chat import Chat, Fates, Window, runs, size
from relay.errors import MESSAGES, Code, Reason
from relay.events import Acked, Refused, Say, Unconfirmed

if TYPE_CHECKING:
    from relay.session import Session


class Outbox:
    """Ids start at 1 and rise by one through the session, across chats; each ends in exactly one outcome."""

    __slots__ = ("_next", "_seen", "_session", "fates")

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._next = 1  # the id of the next new message
        self._seen = 0  # the highest id that came; after a resume, those up to `_next` may come once more
        self.fates = Fates()

    def say(self, command: Say) -> None:
        """Put a message under way to the partner, or tell why not. A client that knows no ids gets the next one."""
        session, id = self._session, command.id
        chat = session.chat
        if id is not None and id <= self._seen:
            self._said_again(id, command.text)
        elif chat is None and command.chat is None:
            session.refuse(Code.NOT_PAIRED, id=id)
        elif id is not None and id > self._next:
            self._out_of_order(id)
        elif chat is None or (command.chat is not None and command.chat != chat.id):
            self._not_sent(command, command.chat or "", self.fates.why(command.chat or ""))
        elif chat.deaf:
            self._not_sent(command, chat.id, Reason.QUIT)
        elif session.acks and self.full(chat.window, size(command.text)):
            session.refuse(Code.WINDOW_FULL, id=id)
        else:
            host = session.host
            mail = chat.say(self._take(id), command.text, session.fence, host.now, host.turn)
            if mail is not None:
                host.post(chat.partner.uid, mail)

    def _said_again(self, id: int, text: str) -> None:
        """Repeat a known outcome; a message that is still under way is left alone."""
        session = self._session
        under_way = session.chat.window.find(id) if session.chat else None
        if under_way is None:
            chat, reason = self.fates.of(id)
            session.host.tell(session, Acked(id, chat) if reason is None else Unconfirmed(id, id, reason, (text,)))
        elif under_way != text:
            self._out_of_order(id)

    def _out_of_order(self, id: int) -> None:
        refusal = Refused(Code.BAD_ORDER, MESSAGES[Code.BAD_ORDER], id=id, expected=self._next)
        self._session.host.tell(self._session, refusal)

    def _take(self, id: int | None) -> int:
        """The message takes its id."""
        self._seen = self._next if id is None else id
        self._next = max(self._next, self._seen + 1)
        return self._seen

    def _not_sent(self, command: Say, chat: str, reason: Reason) -> None:
        self._report([(self._take(command.id), command.text)], chat, reason)

    def resume(self, sent: int) -> None:
        """The client comes back, having numbered up to `sent`: new ids go on from there; those not seen may come."""
        self._next = max(self._next, sent + 1)

    def known(self, chat: Chat, last: int) -> None:
        """The partner has everything up to `last`, also what another node sent."""
        if last > self._seen:
            self.fates.record(self._seen + 1, last, chat.id, None)
            self._seen, self._next = last, max(self._next, last + 1)

    def full(self, window: Window, more: int) -> bool:
        """Whether a message of `more` bytes has to wait. One alone is always let through, however long."""
        host = self._session.host
        if len(window) >= host.limits.window:
            return True
        wanted = window.bytes + more
        return bool(window) and (
            wanted > host.limits.window_bytes or wanted + MESSAGE_BYTES * len(window) > host.allowance
        )

    def acked(self, chat: Chat, id: int) -> None:
        """The partner has everything up to `id`."""
        taken = chat.window.take(id)
        if not taken:
            if self._seen < id < self._next:  # said on a node that is gone; the client needn't say it again
                self.known(chat, id)
                self._session.host.tell(self._session, Acked(id, chat.id))
            return
        first, last = taken[0][0], taken[-1][0]
        if last - first < len(taken):
            self.fates.record(first, last, chat.id, None)
        else:  # ids in between had another outcome
            for run in runs(taken):
                self.fates.record(run[0][0], run[-1][0], chat.id, None)
        self._session.host.tell(self._session, Acked(last, chat.id))
        if chat.held:
            self.go_on(chat)

    def go_on(self, chat: Chat) -> None:
        """The partner reads again."""
        session, host = self._session, self._session.host
        for mail in chat.go_on(session.fence):
            host.post(chat.partner.uid, mail)

    def close(self, chat: Chat, reason: Reason, last: int) -> None:
        """The partner had everything up to `last`; nothing more can be known."""
        self.acked(chat, last)
        self._report(chat.window.take_all(), chat.id, reason)

    def _report(self, entries: list[tuple[int, str]], chat: str, reason: Reason) -> None:
        for run in runs(entries):
            first, last = run[0][0], run[-1][0]
            self.fates.record(first, last, chat, reason)
            texts = tuple(text for _, text in run)
            self._session.host.tell(self._session, Unconfirmed(first, last, reason, texts))
