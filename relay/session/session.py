"""One user's session and its states. It does no I/O: time, peer messages and records go through its `SessionRuntime`.

`TRANSITIONS` says how the state may change, and `Session._move` is the only place where it does. Other modules call the
method of the session that stands for the event; none of them assigns attributes that belong to the state.

Commands are handled strictly in order: while one waits for its outcome (`blocked`), the caller keeps the following
ones. Leaving, quitting and switching wait until every message before them was acknowledged or reported. The handlers of
commands are in `relay.session.command_handlers`, those of peer messages in `relay.session.peer_handlers`.
"""

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final
from weakref import ref

from relay.metrics import Outcome
from relay.names.parse import Name
from relay.protocol.commands_and_events import (
    Acknowledge,
    Bye,
    Call,
    Cancel,
    Claim,
    Command,
    DrainClose,
    EndOfStream,
    Event,
    Leave,
    Left,
    Paired,
    Ping,
    Quit,
    Refused,
    Replaced,
    Welcome,
)
from relay.protocol.errors import MESSAGES, Code, Ending, Presence, Reason
from relay.protocol.frame_errors import Ref
from relay.session.chat import FLIGHT_BYTES, Chat
from relay.session.client_connection_interface import ClientConnection
from relay.session.command_handlers import COMMANDS, before_name
from relay.session.grace_period import GracePeriod
from relay.session.incoming_call_policy import IncomingCallPolicy
from relay.session.pairing import Pairing
from relay.session.partner_node_counts import NO_TIES
from relay.session.peer_messages import ChatEnded, FlowAck, HalfClosed, Knew, Mail, UnknownSession
from relay.session.resume import RestoredState, partner_lost
from relay.session.runtime_interface import SessionRuntime
from relay.session.send_window import SendWindow
from relay.shared_types import ChatRef, Ended, FormerSession, Party

# These commands wait for the outcome of the messages before them.
_DEPARTURES: Final = (Leave, Quit, Call, EndOfStream, DrainClose)
# A timer may fire a little early, because the loop uses a different clock.
MARGIN_SECONDS: Final = 0.02


class State(Enum):
    """The states of a session."""

    NAMELESS = auto()
    CLAIMING = auto()  # the directory has been asked for the name
    ACTIVE = auto()
    RESUMING = auto()  # the client is back, and is welcomed once the partner has answered
    AWAY = auto()  # the client is gone and may come back
    ENDED = auto()


class Transition(Enum):
    """The events that change a session's state, each with its caption for the diagram."""

    CLAIM = "the client asks for a name"
    REFUSE = "the name can't be had"
    GRANT = "the name is its own"
    RESUME = "a client comes back with its token"
    WELCOME = "the partner has answered, or there was none"
    DETACH = "a client that may come back is gone"
    LOSE_NAME = "another owns the name now"
    END = "quit, replaced, kicked, grace over"


# For each transition, the new state by old state. A transition from any other state is a defect.
TRANSITIONS: Final[Mapping[Transition, Mapping[State, State]]] = {
    Transition.CLAIM: {State.NAMELESS: State.CLAIMING},
    Transition.REFUSE: {State.CLAIMING: State.NAMELESS},
    Transition.GRANT: {State.CLAIMING: State.ACTIVE},
    Transition.RESUME: dict.fromkeys((State.CLAIMING, State.ACTIVE, State.RESUMING, State.AWAY), State.RESUMING),
    Transition.WELCOME: {State.RESUMING: State.ACTIVE},
    Transition.DETACH: {State.ACTIVE: State.AWAY, State.RESUMING: State.AWAY},
    Transition.LOSE_NAME: {State.ACTIVE: State.NAMELESS, State.RESUMING: State.NAMELESS},
    # It leads from ENDED too, because the connection is closed after the name was given back.
    Transition.END: dict.fromkeys(State, State.ENDED),
}
# The states in which a session owns its name.
NAMED: Final = frozenset({State.ACTIVE, State.RESUMING, State.AWAY})

# Each message needs these, and on Python 3.11 a look-up of an enum's member costs ten times that of a global.
ACTIVE: Final = State.ACTIVE
RESUMING: Final = State.RESUMING
AWAY: Final = State.AWAY
_ENDED: Final = State.ENDED


class IllegalTransition(AssertionError):
    """Raised if a session was asked for a transition that its state doesn't have, which is a defect."""


class Session:
    """One user's session on this node.

    `resumable` means that the client speaks JSON: it numbers its messages, gets their outcomes by number, and may come
    back after its connection broke. Other sessions end with their connection.
    """

    __slots__ = (
        "__weakref__",
        "_began",
        "_since",
        "_ties",
        "acks",
        "call_policy",
        "chat",
        "client",
        "deferred",
        "ended",
        "fallback_chat",
        "fencing_token",
        "former",
        "grace_period",
        "name",
        "named",
        "output_closed",
        "pairing",
        "pending",
        "resumable",
        "runtime",
        "send_window",
        "session_id",
        "state",
        "token_hash",
    )

    def __init__(self, runtime: SessionRuntime, *, resumable: bool = False) -> None:
        self.runtime = runtime
        self.resumable = resumable
        self.client: ClientConnection | None = None  # the runtime sends events there
        self.output_closed = False  # the connection is gone
        self._ties = NO_TIES  # as last reported to the runtime
        self._began = 0.0  # the runtime's `instant` at the start; 0: not started, or over
        self.state = State.NAMELESS
        self.named = False  # whether the state is in `NAMED`, kept here because each message needs it
        self._nameless()

    def _move(self, transition: Transition) -> None:
        """Change the state as `TRANSITIONS` says. Raises IllegalTransition, which leaves the state unchanged."""
        state = TRANSITIONS[transition].get(self.state)
        if state is None:
            raise IllegalTransition(f"{transition.name} in the state {self.state.name}")
        self.state, self.named = state, state in NAMED

    def _nameless(self) -> None:
        self.name: Name | None = None
        self.session_id = ""  # distinguishes this session from all others that ever owned the name
        self.fencing_token = 0
        self.former: FormerSession | None = None  # the session on another node that became this one
        self.token_hash = ""  # the hash of the token that resumes this session
        self.acks = False  # the client acknowledges messages itself
        self.grace_period = GracePeriod(self)
        self.chat: Chat | None = None
        self.fallback_chat: ChatRef | None = None  # it goes on unless `chat` turns out to exist (see `resume`)
        self.ended: Ended | None = None  # the last chat that ended
        self.deferred: list[Mail] = []  # peer messages that came while the client was resuming
        self.send_window = SendWindow(self)
        self.call_policy = IncomingCallPolicy(self)
        self.pairing = Pairing(self)
        self._since = 0.0  # the `instant` at which `pending` began to wait for messages
        self.pending: Command | None = None  # the following commands wait for this one (or for `pairing`)

    # --- queries

    @property
    def canonical_name(self) -> str:
        """The canonical form of the name; empty if the session has none."""
        return self.name.canonical_name if self.name else ""

    @property
    def party(self) -> Party:
        """The description of this side for its partner."""
        assert self.name is not None
        node_id, name, acks = self.runtime.node_id, self.name, "client" if self.acks else "node"
        return Party(
            node_id, name.canonical_name, name.display_name, self.fencing_token, acks=acks, grace=self.grace, rings=True
        )

    @property
    def grace(self) -> float:
        """Seconds for which this session outlives its connection."""
        return self.runtime.limits.grace if self.resumable else 0.0

    @property
    def away(self) -> bool:
        """Return whether the client is gone and may come back."""
        return self.state is AWAY

    @property
    def returning(self) -> Claim | None:
        """The claim of a client that is back and waits for its welcome; None in any other state."""
        return self.pending if self.state is RESUMING and isinstance(self.pending, Claim) else None

    @property
    def presence(self) -> Presence:
        """The presence that other users see."""
        if self.state is AWAY:
            return Presence.AWAY
        return Presence.BUSY if self.chat or self.pairing.step or self.call_policy.ringing else Presence.FREE

    @property
    def calling(self) -> bool:
        """Return whether a call rings, here or at the callee. Meanwhile other callers hear `busy`."""
        return self.pairing.ringing or self.call_policy.ringing is not None

    @property
    def engaged(self) -> ChatRef | None:
        """The chat that the record must name: the one being agreed on, or else the current one."""
        return self.pairing.promised or (ChatRef(self.chat.id, self.chat.partner) if self.chat else None)

    @property
    def previous_chat(self) -> ChatRef | None:
        """The second chat that the record must name: it goes on if the agreement on the first one fails."""
        if self.chat is None or self.pairing.promised is None:
            return self.fallback_chat
        return ChatRef(self.chat.id, self.chat.partner)

    @property
    def blocked(self) -> bool:
        """Return whether commands have to wait."""
        if self.pending is not None or self.pairing.step is not None or self.state is _ENDED:
            return True
        chat = self.chat
        return chat is not None and chat.unacked.count > 0 and not self.acks and self.send_window.full(chat.unacked, 0)

    @property
    def draining(self) -> bool:
        """Return whether commands wait for the outcome of messages or of a call, which some commands may overtake."""
        return self._behind_messages or self.pairing.ringing or (self.resumable and self.pairing.call is not None)

    @property
    def _behind_messages(self) -> bool:
        return self.chat is not None and isinstance(self.pending, Leave | Quit | Call)

    def passes(self, command: Command) -> bool:
        """Return whether a command may overtake those that wait for the outcome of messages or of a call.

        Acknowledgements may, because otherwise two partners could wait for each other for ever. A ping may once the
        wait has lasted for `limits.patience`, because a partner that doesn't read must not make this node look frozen;
        while a call rings it may at once, because a call may ring for long. Commands that give up never wait.
        """
        match command:
            case Acknowledge():
                return True
            case Ping():
                return self.pairing.ringing or self._waited
            case Cancel():
                return self.cancels(command)
            case Quit():
                return command.now
            case _:
                return False

    def cancels(self, command: Cancel) -> bool:
        """Return whether this command cancels the call that is under way."""
        call = self.pending if isinstance(self.pending, Call) else self.pairing.call
        return call is not None and command.ref in (None, call.ref)

    @property
    def _waited(self) -> bool:
        return self._behind_messages and self.runtime.instant - self._since >= self.runtime.limits.patience

    # --- commands

    def receive(self, command: Command) -> None:
        """Handle the client's next command. This must not be called while `blocked`, except if the command `passes`."""
        if self.named:
            COMMANDS[type(command)](self, command)
        elif self.state is State.NAMELESS:
            before_name(self, command)

    def claim(self, name: Name, command: Claim) -> None:
        """Ask for a name, or for the session of a token. The answer calls `claimed`, `come_back` or `unclaimed`."""
        self._move(Transition.CLAIM)
        self.pending, self.name = command, name
        ask = self.runtime.claim if command.resume is None else self.runtime.resume
        ask(self, name, command)

    def claimed(self, session_id: str, fencing_token: int, token: str, token_hash: str) -> None:
        """Own the name, which the directory granted, and welcome the client. One that can't come back gets no token."""
        claim, runtime = self.pending, self.runtime
        if self.state is State.ENDED:  # the node has stopped meanwhile
            self.session_id = session_id
            runtime.release(self, lambda: None, Ending.DRAINED)
            return
        assert isinstance(claim, Claim)
        assert self.name is not None
        self._move(Transition.GRANT)
        self.pending = None
        self.session_id, self.fencing_token, self.acks, self.call_policy.asks = (
            session_id,
            fencing_token,
            claim.acks,
            claim.ask,
        )
        self.token_hash = token_hash
        runtime.counts.claim(Outcome.GRANTED)
        self.welcome(token, resumed=False)

    def welcome(self, token: str, *, resumed: bool) -> None:
        """Tell the client that the name is its own, with the token and the limits."""
        assert self.name is not None
        limits = self.runtime.limits
        welcome = Welcome(
            self.name.display_name,
            token,
            resumed,
            grace=limits.grace,
            window=limits.window,
            window_bytes=limits.window_bytes,
            ping=limits.ping,
            node=self.runtime.node,
            max_line=limits.max_line,
        )
        self.runtime.tell(self, welcome)

    def unclaimed(self, code: Code) -> None:
        """Refuse the name. The client may ask for another."""
        if self.state is State.ENDED:
            return
        assert isinstance(self.pending, Claim)
        typed = self.pending.name
        self.runtime.counts.claim(code)
        self._move(Transition.REFUSE)
        self.pending = self.name = None
        self.refuse(code, name=typed)

    def announce(self, chat: Chat, *, caller: bool, ref: Ref | None = None) -> None:
        """Tell the client of its chat. `ref` is that of the request which this answers."""
        self.runtime.tell(self, Paired(chat.partner.display_name, chat.id, chat.partner.acks, caller, ref=ref))

    def begin(self, chat: Chat, *, caller: bool, wanted: bool = True, ref: Ref | None = None) -> None:
        """Leave the old chat, if any, and announce the new one. `wanted`: the client had called this partner itself."""
        switches = self.chat is not None
        self.part(Reason.LEFT, ref=ref)
        self.chat = chat
        self.tie()
        if switches:  # the record still names both chats
            self.runtime.save(self)
        if not caller and not wanted:
            self.runtime.called(self)
        self.announce(chat, caller=caller, ref=ref)
        if self.output_closed:
            self.unplugged()

    def tie(self) -> None:
        """Report the nodes of this session's partners. Must be called whenever partner, agreement or state changes."""
        ties = NO_TIES if self.state is _ENDED else (_node(self.chat), self.pairing.node)
        if ties != self._ties:
            self.runtime.partner_node_counts.change(self._ties, ties)
            self._ties = ties

    def partner_is(self, party: Party) -> None:
        """Replace the description of the partner, which has answered, or may have moved to another node."""
        assert self.chat is not None
        self.chat.partner, self.chat.denials = party, 0
        self.tie()

    def written(self, fencing_token: int) -> None:
        """Keep the fencing token of the record just written, which is higher if the node's lease had lapsed."""
        self.fencing_token = fencing_token

    def refuse(self, code: Code, *, id: int | None = None, name: str | None = None, ref: Ref | None = None) -> None:
        """Tell the client that its request is refused, with the text from `MESSAGES`."""
        self.runtime.tell(self, Refused(code, MESSAGES[code], id=id, name=name, ref=ref))

    def later(self, delay: float, then: Callable[["Session"], None]) -> None:
        """Call `then` after `delay` seconds if the session still exists. The timer doesn't keep it alive."""
        here = ref(self)

        def ring() -> None:
            if (session := here()) is not None:
                then(session)

        self.runtime.call_later(delay, ring)

    # --- commands that the following ones wait for

    def await_answer(self, command: Command) -> None:
        """Have the following commands wait until this one is `answered`."""
        self.pending = command

    def answered(self, command: Command) -> bool:
        """End the wait for a command's answer. Returns False if the session didn't wait for it any more."""
        if self.pending is not command:
            return False
        self.pending = None
        return True

    def drop_pending(self) -> None:
        """Stop waiting for the pending command."""
        self.pending = None

    def wait(self, command: Command) -> None:
        """Have a command wait for the outcome of the messages before it."""
        runtime = self.runtime
        self.pending, self._since = command, runtime.instant
        self.later(runtime.limits.patience + MARGIN_SECONDS, lambda session: session.runtime.wake(session))

    def proceed(self) -> None:
        """Handle the pending command if all messages before it have their outcome, and wake the session."""
        self.runtime.wake(self)
        command = self.pending
        if isinstance(command, _DEPARTURES) and not (self.chat and self.chat.unacked):
            self.drop_pending()
            if not (isinstance(command, Leave) and self.chat is None):  # else the partner left first: already told
                self.receive(command)

    # --- leaving

    def part(self, reason: Reason, *, told: bool = False, ref: Ref | None = None) -> None:
        """Leave the chat, if any: tell the partner, report open messages, and tell the client unless `told`."""
        chat, self.chat = self.chat, None
        if chat is None:
            return
        self.tie()
        self.runtime.post(
            chat.partner.node_id,
            ChatEnded(chat.partner.canonical_name, chat.id, reason, chat.confirmed, self.fencing_token),
        )
        self.send_window.close(chat, reason, 0)
        self._ended(chat, Reason.LEFT)
        if reason is Reason.LEFT and not told:
            self.runtime.tell(self, Left(chat.partner.display_name, Reason.LEFT, chat.id, own=True, ref=ref))

    def over(self, reason: Reason, last: int) -> None:
        """End the chat, because the partner did. It had our messages up to `last`."""
        chat = self.chat
        assert chat is not None
        self.chat = None
        self.tie()
        self.send_window.close(chat, reason, last)
        self._ended(chat, reason)
        ref = self.pending.ref if isinstance(self.pending, Leave) else None  # the partner left first
        self.runtime.tell(self, Left(chat.partner.display_name, reason, chat.id, ref=ref))
        self.runtime.save(self)
        self.proceed()

    def _ended(self, chat: Chat, reason: Reason) -> None:
        self.send_window.outcomes.ended(chat.id, reason)
        self.ended = Ended(chat.id, chat.partner.display_name, reason)

    def unheard(self, reason: Reason, last: int) -> None:
        """Report the messages under way, because the partner takes no more. It has those up to `last`."""
        assert self.chat is not None
        self.chat.half_closed = True
        self.send_window.close(self.chat, reason, last)
        self.proceed()

    def end(self, why: Ending, *last_words: Event) -> None:
        """Give the name back, then close the connection, so that the name is free once the connection is closed."""
        self.call_policy.cancel_incoming(Code.NO_SUCH_USER)
        named = self.named
        self._move(Transition.END)
        self.tie()
        if named:
            self.runtime.release(self, lambda: self._close(last_words), why)
        else:
            self._close(last_words)

    def _close(self, last_words: tuple[Event, ...]) -> None:
        for event in last_words:
            self.runtime.tell(self, event)
        self.close()

    def close(self) -> None:
        """End the session without giving its name back, and close its connection, if there is one."""
        self._move(Transition.END)
        self.tie()
        self.runtime.close(self)
        self.chat = None  # so that late peer messages about it are ignored
        self._take_apart()

    def _take_apart(self) -> None:
        """Break the reference cycles with the session's parts, so that it needn't wait for the cyclic collector."""
        for part in (self.grace_period, self.send_window, self.call_policy, self.pairing):
            part.let_go()

    # --- the connection, the name, the node

    def dialect_known(self, *, resumable: bool) -> None:
        """Note from the client's first bytes whether it speaks JSON, and so may come back."""
        self.resumable = resumable

    def started(self) -> None:
        """Note that the session has started, or was resumed, on this node."""
        self._began = self.runtime.instant

    def stopped(self) -> float | None:
        """Note that the session is over on this node. Returns the seconds for which it ran, or None if it didn't."""
        began, self._began = self._began, 0.0
        return self.runtime.instant - began if began else None

    def connect(self, client: ClientConnection) -> None:
        """Send events to this connection from now on."""
        self.client = client

    def disconnect(self) -> ClientConnection | None:
        """Send no more events to the connection, and return it, if there is one."""
        client, self.client = self.client, None
        return client

    def flushed(self) -> None:
        """Acknowledge the partner's messages, because the kernel has everything that the client was told.

        If the client sends its own acknowledgements, the partner only gets a `FlowAck` from time to time.
        """
        chat = self.chat
        if chat is None:
            return
        if not self.acks:
            if (ack := chat.confirm(chat.received)) is not None:
                self.runtime.post(chat.partner.node_id, ack)
        elif chat.flow_unreported >= FLIGHT_BYTES // 2:
            chat.flow_unreported = 0
            self.runtime.post(chat.partner.node_id, FlowAck(chat.partner.canonical_name, chat.id, chat.received))

    def unplugged(self) -> None:
        """Note that the client can't be told anything any more. Its lines up to `EndOfStream` are still handled."""
        self.output_closed = True
        self.pairing.hang_up()
        chat = self.chat
        if self.resumable and self._behind_messages:
            self.drop_pending()  # the client can't be told the outcome, and may ask again when it is back
            self.detach()
        if chat is not None and not self.resumable:
            self.runtime.post(chat.partner.node_id, HalfClosed(chat.partner.canonical_name, chat.id, chat.confirmed))

    def node_lost(self, node_id: str, since: float) -> None:
        """Handle the death of a node `since` seconds ago: a partner there is away until its grace is over, or lost."""
        self.pairing.node_lost(node_id)
        self.call_policy.node_lost(node_id)
        partner_lost(self, node_id, since)

    def detach(self) -> None:
        """Begin the grace period, because the client is gone and may come back. A welcome that is due is dropped."""
        if self.state is RESUMING:
            self._hand_out()
        self._move(Transition.DETACH)
        self.grace_period.begin()

    def attach(self, claim: Claim) -> None:
        """Take a client that resumes. Requests from its old connection are dropped; it may repeat them."""
        self.pairing.withdraw(Reason.LEFT)
        self._move(Transition.RESUME)
        self.pending = claim
        self.acks, self.call_policy.asks, self.output_closed = claim.acks, claim.ask, False

    def inherit(self, restored: RestoredState) -> None:
        """Take over the state of the session from its record."""
        self.name, self.session_id, self.fencing_token = restored.name, restored.session_id, restored.fencing_token
        self.token_hash, self.ended, self.former = restored.token_hash, restored.ended, restored.former
        if restored.chat is not None:
            self.chat, self.fallback_chat = Chat(*restored.chat), restored.previous_chat
            self.tie()
        self.send_window.inherited()
        if restored.ended is not None:
            self.send_window.outcomes.ended(restored.ended.chat, restored.ended.reason)

    def drop_fallback(self) -> ChatRef | None:
        """Forget the fallback chat, because the chat exists, and return it."""
        fallback, self.fallback_chat = self.fallback_chat, None
        return fallback

    def fall_back(self) -> Chat:
        """Replace the chat, which failed, by the fallback chat, and return that."""
        assert self.fallback_chat is not None
        self.chat, self.fallback_chat = Chat(*self.fallback_chat), None
        self.tie()
        return self.chat

    def postpone(self, mail: Mail) -> None:
        """Handle this peer message after the welcome of the client that is resuming."""
        self.deferred.append(mail)

    def welcome_back(self, token: str) -> None:
        """Welcome the client that resumed, and then handle the deferred peer messages."""
        self._move(Transition.WELCOME)
        self._hand_out()
        self.welcome(token, resumed=True)

    def _hand_out(self) -> None:
        """Deliver the deferred peer messages, because no client waits for its welcome any more."""
        self.pending = None
        for mail in self.deferred:
            self.runtime.post(self.runtime.node_id, mail)
        self.deferred.clear()

    def replaced(self, returns: int | None = None, node_id: str = "") -> None:
        """End the session here, because another one has its place now.

        `returns` is how often a client had come back here, as the record said that a move to another node replaced; -1
        if it may not have been this session's; None if the other client is known to be the later one. Otherwise the
        client here may be, so it isn't told that it was replaced, and resumes the other session. `node_id` is the other
        node if that wants a `Knew`.
        """
        self.call_policy.cancel_incoming(Code.AWAY)
        self.pairing.moved()
        if self.chat is not None:  # the partner must look us up: the Resync may have gone to a suspended node
            partner = self.chat.partner
            self.runtime.post(
                partner.node_id,
                UnknownSession(partner.canonical_name, self.chat.id, self.runtime.node_id, *self.chat.unacked_times),
            )
            if node_id:
                self.send_window.outcomes.times.learn(*self.chat.unacked_times)
                timed, times = self.chat.times.latest
                said, said_times = self.send_window.outcomes.times.latest
                self.runtime.post(
                    node_id, Knew(self.canonical_name, self.chat.id, timed, times, said=said, said_times=said_times)
                )
        if returns is None or not self.grace_period.ended_after(returns):
            self.runtime.tell(self, Replaced())
        self.runtime.forget(self, Ending.REPLACED)
        self.close()

    def name_lost(self) -> None:
        """Drop the name, which another session owns now. A JSON client may claim again; other clients are closed."""
        self._drop()
        self.refuse(Code.NAME_LOST)
        self.runtime.forget(self, Ending.NAME_LOST)
        if isinstance(self.pending, Quit):
            self.runtime.tell(self, Bye())
        elif self.resumable and not self.away:
            self._move(Transition.LOSE_NAME)
            self._take_apart()
            self._nameless()
            return
        self.close()

    def superseded(self) -> None:
        """End the session, because its user has claimed the name anew. An open client would only claim it back."""
        self._drop()
        self.replaced()

    def _drop(self) -> None:
        """End the agreement and the chat, because another session owns the name."""
        self.pairing.withdraw(Reason.LOST)
        chat, self.chat = self.chat, None
        self.tie()
        if chat is not None:
            self.runtime.post(
                chat.partner.node_id,
                ChatEnded(chat.partner.canonical_name, chat.id, Reason.LOST, chat.confirmed, self.fencing_token),
            )
            self.send_window.close(chat, Reason.NAME_LOST, 0)


def _node(chat: Chat | None) -> str | None:
    return None if chat is None else chat.partner.node_id
