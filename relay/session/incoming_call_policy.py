"""The policy for incoming calls: the names that a client blocks, and calls that the client answers itself (`ask`).

A client with `ask` is told of a call (`Invited`), and accepts or declines it. Until then it may use other commands, and
other callers hear `busy`. The caller is told that it rings, and may give the call up.
"""

from collections.abc import Set
from typing import TYPE_CHECKING, Final

from relay.metrics import Limit
from relay.names.parse import Name
from relay.protocol.commands_and_events import AcceptCall, Block, Blocked, Call, DeclineCall, Invited, Missed, Unblock
from relay.protocol.errors import Code
from relay.protocol.frame_errors import Ref
from relay.session.peer_messages import Decline, Invite, Ringing

if TYPE_CHECKING:
    from relay.session.session import Session


_NOBODY: Final = frozenset[str]()  # shared, because a set of its own would cost each idle client 0.2 KB


class IncomingCallPolicy:
    """The call policy of one session. The list of blocked names lives as long as the session on this node."""

    __slots__ = ("_blocked", "_session", "_told", "asks", "ringing")

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._blocked: Set[str] = _NOBODY  # canonical names
        self.asks = False  # the client answers calls itself
        self.ringing: Invite | None = None  # the call that waits for the client's answer
        self._told = False  # the client was told of that call

    def let_go(self) -> None:
        """Drop the reference to the session, which is over."""
        del self._session

    # --- blocking

    def block(self, name: Name, command: Block) -> None:
        """Refuse this user's calls from now on. The user hears `busy`."""
        session = self._session
        if name.canonical_name == session.canonical_name:
            session.refuse(Code.SELF_CHAT, name=command.name, ref=command.ref)
        elif len(self._blocked) >= session.runtime.limits.blocks and name.canonical_name not in self._blocked:
            session.runtime.counts.hit(Limit.BLOCKS)
            session.refuse(Code.TOO_MANY, name=command.name, ref=command.ref)
        else:
            self._blocked |= {name.canonical_name}
            if self.ringing is not None and self.ringing.caller.canonical_name == name.canonical_name:
                self.cancel_incoming(Code.BUSY)
            session.runtime.tell(session, Blocked(command.name, True, command.ref))

    def unblock(self, name: Name, command: Unblock) -> None:
        """Let this user call again."""
        self._blocked -= {name.canonical_name}
        self._session.runtime.tell(self._session, Blocked(command.name, False, command.ref))

    def is_blocked(self, canonical_name: str) -> bool:
        """Return whether this user is blocked."""
        return canonical_name in self._blocked

    # --- asking

    def ring(self, mail: Invite) -> None:
        """Ask the client to answer the call. A caller whose node is too old to wait for that hears `busy`."""
        session, runtime = self._session, self._session.runtime
        if not mail.caller.rings:
            runtime.post(mail.caller.node_id, Decline(mail.caller.canonical_name, mail.chat, Code.BUSY))
            return
        self.ringing, self._told = mail, False
        # The record is written first, so that every node finds this session busy once anyone hears of the call.
        runtime.save(session, lambda _: self._rung(mail))

    def _rung(self, mail: Invite) -> None:
        if self.ringing is not mail:
            return
        session, runtime = self._session, self._session.runtime
        self._told = True
        runtime.post(mail.caller.node_id, Ringing(mail.caller.canonical_name, mail.chat))
        runtime.tell(session, Invited(mail.caller.display_name, mail.chat, runtime.limits.ask))
        runtime.call_later(runtime.limits.ask, lambda: self._overdue(mail))

    def _overdue(self, mail: Invite) -> None:
        if self.ringing is mail:
            self.cancel_incoming(Code.DECLINED)

    def accept(self, command: AcceptCall, call: Call | None = None) -> None:
        """Take the call, because the client accepts it. `call` is the client's own call if it accepts by calling."""
        mail = self._take(command.chat, command.ref)
        if mail is not None:
            self._session.pairing.answer(mail, command, call)

    def decline(self, command: DeclineCall) -> None:
        """Decline the call, because the client does."""
        session, mail = self._session, self._take(command.chat, command.ref)
        if mail is not None:
            session.runtime.post(mail.caller.node_id, Decline(mail.caller.canonical_name, mail.chat, Code.DECLINED))
            session.runtime.save(session)

    def _take(self, chat: str | None, ref: Ref | None) -> Invite | None:
        mail = self.ringing
        if mail is None or chat not in (None, mail.chat):
            self._session.refuse(Code.NOT_CALLED, ref=ref)
            return None
        self.ringing = None
        return mail

    def cancel_incoming(self, code: Code) -> None:
        """End the ringing call, if there is one, and tell both sides. The caller is told `code`."""
        mail = self.ringing
        if mail is not None:
            self._session.runtime.post(mail.caller.node_id, Decline(mail.caller.canonical_name, mail.chat, code))
            self._miss()

    def concerns(self, chat: str) -> bool:
        """Return whether the ringing call is about this chat."""
        return self.ringing is not None and self.ringing.chat == chat

    def taken_back(self) -> None:
        """End the ringing call, because the caller has given up."""
        self._miss()

    def node_lost(self, node_id: str) -> None:
        """End the ringing call if its caller was on that node, which is dead."""
        if self.ringing is not None and self.ringing.caller.node_id == node_id:
            self._miss()

    def _miss(self) -> None:
        session, mail, self.ringing = self._session, self.ringing, None
        assert mail is not None
        if self._told:
            session.runtime.tell(session, Missed(mail.caller.display_name, mail.chat))
        session.runtime.save(session)
