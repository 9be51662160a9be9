"""Who may call: the names that a client blocks, and calls that it answers itself (`ask`).

A client that asks is told of a call (`Invited`) and accepts or declines it; until then it is free, and others who call
hear `busy`. The caller is told that it rings, and may give the call up.
"""

from collections.abc import Set
from typing import TYPE_CHECKING, Final

from relay.errors import Code
from relay.events import Blocked, Invited, Missed
from relay.mail import Decline, Invite, Ringing
from relay.metrics import Limit
from relay.names import Name

if TYPE_CHECKING:
    from relay.session import Session


_NOBODY: Final = frozenset[str]()  # a set each would cost an idle client 0.2 KB


class Door:
    """The door of one session. What is blocked lives as long as the session on this node."""

    __slots__ = ("_blocked", "_session", "asks", "ringing")

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._blocked: Set[str] = _NOBODY  # names in the form that is owned
        self.asks = False  # the client answers calls itself
        self.ringing: Invite | None = None  # the call that waits for its answer

    def let_go(self) -> None:
        """The session is over: nothing here refers to it any more."""
        del self._session

    # --- blocking

    def block(self, name: Name, typed: str) -> None:
        """Have this user's calls refused from now on; the user hears `busy`."""
        session = self._session
        if name.owned == session.owned:
            session.refuse(Code.SELF_CHAT, name=typed)
        elif len(self._blocked) >= session.host.limits.blocks and name.owned not in self._blocked:
            session.host.counts.hit(Limit.BLOCKS)
            session.refuse(Code.TOO_MANY, name=typed)
        else:
            self._blocked |= {name.owned}
            if self.ringing is not None and self.ringing.caller.owned == name.owned:
                self.shut(Code.BUSY)
            session.host.tell(session, Blocked(typed, True))

    def unblock(self, name: Name, typed: str) -> None:
        """Let this user call again."""
        self._blocked -= {name.owned}
        self._session.host.tell(self._session, Blocked(typed, False))

    def bars(self, owned: str) -> bool:
        """Whether this user is blocked."""
        return owned in self._blocked

    # --- asking

    def ring(self, mail: Invite) -> None:
        """Ask the client. A caller whose node is too old to wait for an answer hears `busy`."""
        session, host = self._session, self._session.host
        if self.ringing is not None or not mail.caller.rings:
            host.post(mail.caller.uid, Decline(mail.caller.owned, mail.chat, Code.BUSY))
            return
        self.ringing = mail
        host.post(mail.caller.uid, Ringing(mail.caller.owned, mail.chat))
        host.tell(session, Invited(mail.caller.shown, mail.chat, host.limits.ask))
        host.alarm(host.limits.ask, lambda: self._overdue(mail))

    def _overdue(self, mail: Invite) -> None:
        if self.ringing is mail:
            self.shut(Code.DECLINED)

    def accept(self, chat: str | None) -> None:
        """The client takes the call."""
        mail = self._take(chat)
        if mail is not None:
            self._session.pairing.answer(mail)

    def decline(self, chat: str | None) -> None:
        """The client doesn't take the call."""
        mail = self._take(chat)
        if mail is not None:
            self._session.host.post(mail.caller.uid, Decline(mail.caller.owned, mail.chat, Code.DECLINED))

    def _take(self, chat: str | None) -> Invite | None:
        mail = self.ringing
        if mail is None or chat not in (None, mail.chat):
            self._session.refuse(Code.NOT_CALLED)
            return None
        self.ringing = None
        return mail

    def shut(self, code: Code) -> None:
        """The call can't be taken any more, if there is one: tell both sides."""
        mail = self.ringing
        if mail is not None:
            self._session.host.post(mail.caller.uid, Decline(mail.caller.owned, mail.chat, code))
            self._miss()

    def concerns(self, chat: str) -> bool:
        """Whether the call that waits would be this chat."""
        return self.ringing is not None and self.ringing.chat == chat

    def taken_back(self) -> None:
        """The caller has given up."""
        self._miss()

    def node_lost(self, uid: str) -> None:
        """The caller's node is dead."""
        if self.ringing is not None and self.ringing.caller.uid == uid:
            self._miss()

    def _miss(self) -> None:
        mail, self.ringing = self.ringing, None
        if mail is not None:
            self._session.host.tell(self._session, Missed(mail.caller.shown, mail.chat))
