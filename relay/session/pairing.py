"""The agreement by which two free users become a pair, as one of them sees it.

    caller                                 callee
    Calling    -- Invite -->               Answering (its record is written)
    Confirming <-- Accept --               Reserved
    (its record is written)
    paired     -- CallConfirmed -->        paired

A callee whose client answers calls itself (`incoming_call_policy`) is asked first, and the caller is told (`Ringing`).

Both sides hold a step only for a bounded time: a caller gives up after `SessionRuntime.call_seconds`, a callee that
hears nothing gives up after one lease, and either gives up at once when the other's node is known to be dead.
`ChatEnded` takes back any step. Two users who call each other at once compare the chat ids that they proposed. The
lower id stands on both sides, because peer messages between two nodes keep their order. A user at any other step is
busy, so a ring of calls makes at most one pair.
"""

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from relay.metrics import Outcome
from relay.names.parse import Name
from relay.protocol.commands_and_events import AcceptCall, Call, Missed, Rings
from relay.protocol.errors import Code, Presence, Reason
from relay.session.chat import Chat
from relay.session.peer_messages import Accept, CallConfirmed, ChatEnded, Decline, Invite, Ringing
from relay.shared_types import ChatRef, Located, Party

if TYPE_CHECKING:
    from relay.session.session import Session


# If a call is overdue while the directory is crowded, it is checked again after this time. The directory itself gives
# up requests that wait too long.
CROWD_SECONDS: Final = 0.2


class Calling(Struct):
    """The caller waits for an answer. `node_id` is empty until the callee has been found and invited."""

    chat: str
    name: Name
    call: Call
    node_id: str = ""
    ringing: bool = False  # the callee's client is being asked


class Confirming(Struct, frozen=True):
    """The caller was accepted and writes its record."""

    chat: str
    party: Party
    call: Call


class Answering(Struct, frozen=True):
    """The callee accepts and writes its record. `call` is its client's own call to the same user, if there is one."""

    chat: str
    party: Party
    call: Call | None
    taken: AcceptCall | None = None  # the command by which its client accepted the call


class Reserved(Struct, frozen=True):
    """The callee accepted and waits for the caller's `CallConfirmed`."""

    chat: str
    party: Party
    call: Call | None
    taken: AcceptCall | None = None


class Pairing:
    """Holds a session's agreement under way; there is at most one at a time."""

    __slots__ = ("_session", "step")

    def __init__(self, session: "Session") -> None:
        self._session = session
        self.step: Calling | Confirming | Answering | Reserved | None = None

    @property
    def promised(self) -> ChatRef | None:
        """The chat and partner that the record must name before the chat is announced."""
        return None if self.step is None or isinstance(self.step, Calling) else ChatRef(self.step.chat, self.step.party)

    @property
    def node(self) -> str | None:
        """The id of the other side's node, once a chat is promised."""
        return None if (promised := self.promised) is None else promised.partner.node_id

    def _be(self, step: Calling | Confirming | Answering | Reserved | None) -> None:
        self.step = step
        self._session.tie()

    def let_go(self) -> None:
        """Drop the step and the reference to the session, which is over. Late answers to the step are ignored."""
        self.step = None
        del self._session

    # --- as the caller

    @property
    def call(self) -> Call | None:
        """Our client's call that has no outcome yet."""
        return self.step.call if self.step is not None else None

    def start(self, name: Name, call: Call) -> None:
        """Start an agreement. It ends in a pair, or in a refusal that names what the client typed."""
        call_policy = self._session.call_policy
        if call_policy.ringing is not None and call_policy.ringing.caller.canonical_name == name.canonical_name:
            call_policy.accept(AcceptCall(), call)
            return
        call_policy.cancel_incoming(Code.BUSY)
        runtime = self._session.runtime
        chat = runtime.new_id()
        self._be(Calling(chat, name, call))
        runtime.locate(name.canonical_name, lambda found: self._located(chat, found))
        runtime.call_later(runtime.call_seconds, lambda: self._overdue(chat))

    def _located(self, chat: str, found: Located | Code) -> None:
        step = self.step
        if not isinstance(step, Calling) or step.chat != chat:
            return
        if isinstance(found, Code):
            self._refuse(found)
        elif found.state is Presence.OFFLINE:
            self._refuse(Code.NO_SUCH_USER)
        elif found.state is Presence.AWAY:
            self._refuse(Code.AWAY)
        else:
            step.node_id = found.node_id
            self._session.runtime.post(found.node_id, Invite(step.name.canonical_name, chat, self._session.party))

    def _overdue(self, chat: str) -> None:
        step = self.step
        if isinstance(step, Calling) and step.ringing:
            return
        if isinstance(step, Calling | Confirming) and step.chat == chat:
            if self._session.runtime.crowded:  # a client that is refused tries again, and the crowd grows
                self._session.runtime.call_later(CROWD_SECONDS, lambda: self._overdue(chat))
                return
            self.withdraw(Reason.LEFT)
            self._refused(step.call, Code.UNAVAILABLE)

    @property
    def ringing(self) -> bool:
        """Return whether we are calling and the other side's client is being asked."""
        return isinstance(self.step, Calling) and self.step.ringing

    def rings(self, mail: Ringing) -> None:
        """Allow the call more time, because the other side's client is being asked."""
        step, session, runtime = self.step, self._session, self._session.runtime
        if isinstance(step, Calling) and step.chat == mail.chat and not step.ringing:
            step.ringing = True
            runtime.tell(session, Rings(step.call.name, runtime.limits.ask, mail.chat, step.call.ref))
            runtime.save(session)
            # The other node declines in time unless it is in trouble; this timer is for that case.
            runtime.call_later(runtime.limits.ask + runtime.call_seconds, lambda: self._unanswered(mail.chat))
            runtime.wake(session)

    def _unanswered(self, chat: str) -> None:
        if self.concerns(chat):
            self.hang_up()

    def hang_up(self) -> None:
        """Give up our call if it rings."""
        if self.ringing:
            self.cancel()

    def cancel(self) -> None:
        """Give up our client's call, which there must be, at any step."""
        step = self.step
        assert step is not None
        assert step.call is not None
        self.withdraw(Reason.LEFT)
        if isinstance(step, Answering | Reserved):
            self._miss(step)
        self._refused(step.call, Code.DECLINED)

    def accepted(self, mail: Accept) -> None:
        """Write our record and then confirm the call, because the callee took it. If we gave it up, take it back."""
        step = self.step
        if not isinstance(step, Calling) or step.chat != mail.chat:
            self._take_back(mail.chat, mail.callee, Reason.LEFT)
            return
        if step.ringing:
            runtime = self._session.runtime
            runtime.call_later(runtime.call_seconds, lambda: self._overdue(mail.chat))
        self._be(Confirming(mail.chat, mail.callee, step.call))
        self._session.runtime.save(self._session, lambda ok: self._record_written(mail.chat, ok))

    def _record_written(self, chat: str, ok: bool) -> None:
        step = self.step
        if not isinstance(step, Confirming) or step.chat != chat:
            return
        if not ok:
            self.withdraw(Reason.LEFT)
            self._refused(step.call, Code.UNAVAILABLE)
            return
        self._be(None)
        self._session.runtime.counts.call(Outcome.PAIRED)
        self._session.runtime.post(step.party.node_id, CallConfirmed(step.party.canonical_name, chat))
        self._session.begin(Chat(chat, step.party), caller=True, ref=step.call.ref)

    def declined(self, mail: Decline) -> None:
        """Refuse the client's call, because the callee's node declined it."""
        if isinstance(self.step, Calling) and self.step.chat == mail.chat:
            self._refuse(mail.code)

    def _refuse(self, code: Code) -> None:
        step = self.step
        assert isinstance(step, Calling)
        self._be(None)
        if step.ringing:  # the record says that we are calling, so it must be written again
            self._session.runtime.save(self._session)
        self._refused(step.call, code)

    def _refused(self, call: Call, code: Code) -> None:
        self.refuse(code, call)
        self._session.proceed()

    def refuse(self, code: Code, call: Call) -> None:
        """Tell the client that its call failed, and count that."""
        self._session.runtime.counts.call(code)
        self._session.refuse(code, name=call.name, ref=call.ref)

    # --- as the callee

    def invited(self, mail: Invite) -> None:
        """Take the call if we are free, or if we are calling the same user and its call is the one that stands."""
        step, session = self.step, self._session
        if isinstance(step, Calling) and step.name.canonical_name == mail.caller.canonical_name:
            if step.node_id and step.chat < mail.chat:
                return  # our call stands: the caller accepts it when it arrives there
        elif session.presence is Presence.AWAY:
            session.runtime.post(mail.caller.node_id, Decline(mail.caller.canonical_name, mail.chat, Code.AWAY))
            return
        elif (
            step is not None
            or session.presence is not Presence.FREE
            or session.call_policy.is_blocked(mail.caller.canonical_name)
        ):
            session.runtime.post(mail.caller.node_id, Decline(mail.caller.canonical_name, mail.chat, Code.BUSY))
            return
        elif session.call_policy.asks:
            session.call_policy.ring(mail)
            return
        self._answer(Answering(mail.chat, mail.caller, step.call if step else None))

    def answer(self, mail: Invite, command: AcceptCall, call: Call | None) -> None:
        """Answer the call, because the client accepted it, maybe by calling the caller itself (`call`)."""
        self._answer(Answering(mail.chat, mail.caller, call, command))

    def _answer(self, step: Answering) -> None:
        self._be(step)
        self._session.runtime.save(self._session, lambda ok: self._answered(step.chat, ok))

    def _answered(self, chat: str, ok: bool) -> None:
        step = self.step
        if not isinstance(step, Answering) or step.chat != chat:
            return
        session = self._session
        if not ok:
            session.runtime.post(step.party.node_id, Decline(step.party.canonical_name, chat, Code.UNAVAILABLE))
            self._drop()
            return
        self._be(Reserved(chat, step.party, step.call, step.taken))
        session.runtime.post(step.party.node_id, Accept(step.party.canonical_name, chat, session.party))
        session.runtime.call_later(session.runtime.limits.lease, lambda: self._not_confirmed(chat))

    def _not_confirmed(self, chat: str) -> None:
        if isinstance(self.step, Reserved) and self.step.chat == chat:
            self._take_back(chat, self.step.party, Reason.LOST)
            self._drop()

    def confirmed(self, mail: CallConfirmed) -> None:
        """Begin the chat, because the caller confirmed it."""
        step = self.step
        if isinstance(step, Reserved) and step.chat == mail.chat:
            self._be(None)
            if step.call is not None:
                self._session.runtime.counts.call(Outcome.PAIRED)
            asked = step.call or step.taken
            ref = asked.ref if asked is not None else None
            self._session.begin(Chat(step.chat, step.party), caller=False, wanted=asked is not None, ref=ref)

    # --- on either side

    def concerns(self, chat: str) -> bool:
        """Return whether the agreement under way is about this chat."""
        return self.step is not None and self.step.chat == chat

    def taken_back(self) -> None:
        """Drop the agreement, because the other side took its step back."""
        self._drop()

    def node_lost(self, node_id: str) -> None:
        """Drop the agreement if the other side is on that node, which is dead."""
        step = self.step
        if step is not None and node_id == (step.node_id if isinstance(step, Calling) else step.party.node_id):
            self._drop()

    def _drop(self) -> None:
        step = self.step
        assert step is not None
        self._be(None)
        if step.call is not None:
            self.refuse(Code.UNAVAILABLE, step.call)
        if isinstance(step, Answering | Reserved):
            self._miss(step)
        if not isinstance(step, Calling) or step.ringing:
            self._session.runtime.save(self._session)
        self._session.proceed()

    def _miss(self, step: Answering | Reserved) -> None:
        """Tell the client that the call which it accepted is over."""
        if step.taken is not None:
            self._session.runtime.tell(self._session, Missed(step.party.display_name, step.chat, step.taken.ref))

    def withdraw(self, reason: Reason) -> None:
        """Take our step back, if there is one, and tell the other side."""
        self._session.call_policy.cancel_incoming(Code.AWAY)
        step = self.step
        self._be(None)
        runtime = self._session.runtime
        if isinstance(step, Calling):
            if step.node_id:
                runtime.post(step.node_id, ChatEnded(step.name.canonical_name, step.chat, reason, 0, 0))
            if step.ringing:
                runtime.save(self._session)
        elif step is not None:
            self._take_back(step.chat, step.party, reason)
            runtime.save(self._session)

    def moved(self) -> None:
        """Drop the agreement, because another node has the session now. What the record promises isn't taken back.

        Only a call that the record doesn't name yet is withdrawn, because the other node doesn't know it.
        """
        if isinstance(self.step, Calling):
            self.withdraw(Reason.LEFT)
        self._be(None)

    def _take_back(self, chat: str, party: Party, reason: Reason) -> None:
        self._session.runtime.post(party.node_id, ChatEnded(party.canonical_name, chat, reason, 0, 0))
