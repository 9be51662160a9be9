"""Nodes, a network and a directory in memory: sessions as they are, everything around them under the test's control.

Nothing happens by itself. `settle()` lets all of it happen in a fixed order; `happen()` one thing of the test's choice.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from relay.metrics import Counts
from relay.model import Located
from relay.names.parse import Name
from relay.protocol.commands_and_events import (
    Call,
    Claim,
    Command,
    Event,
    Left,
    Messages,
    Paired,
    Refused,
    Resume,
    Welcome,
)
from relay.protocol.errors import Code, Ending, Presence
from relay.session import peer_handlers, resume
from relay.session.client_connection_interface import ClientConnection
from relay.session.memory_budget import PLENTY
from relay.session.partner_node_counts import PartnerNodeCounts
from relay.session.peer_messages import Mail, SessionMoved
from relay.session.resume import RestoredState
from relay.session.runtime_interface import Limits
from relay.session.session import Session, State

Deed = Callable[[], None]

NOON = 1_795_404_840.0  # when every world begins
CHAT = "chat3"  # the id of the first chat of the two who came first


@dataclass
class World:
    """The network and the directory."""

    limits: Limits = field(default_factory=Limits)
    time: float = NOON
    records: dict[str, Session] = field(default_factory=dict)
    links: dict[tuple[str, str], deque[Mail]] = field(default_factory=dict)
    answers: deque[Deed] = field(default_factory=deque)  # of the directory, in order
    alarms: list[tuple[float, Deed]] = field(default_factory=list)
    nodes: dict[str, "Place"] = field(default_factory=dict)
    available: bool = True  # the directory
    crowded: bool = False  # it answers late
    flowing: bool = True  # the links have room
    ids: int = 0

    def place(self, node_id: str) -> "Place":
        """The node of this name."""
        return self.nodes.setdefault(node_id, Place(self, node_id))

    def choices(self) -> list[Any]:
        """What could happen next: a link delivers, or the directory answers."""
        return [*(link for link, mail in sorted(self.links.items()) if mail), *(["directory"] if self.answers else [])]

    def happen(self, choice: Any) -> None:
        """Let one thing happen."""
        if choice == "directory":
            self.answers.popleft()()
        else:
            self.nodes[choice[1]].deliver(self.links[choice].popleft())
        for place in self.nodes.values():
            place.check_partners()

    def settle(self) -> None:
        """Let everything happen that needs no time to pass."""
        while choices := self.choices():
            self.happen(choices[0])

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and ring what is due, in order; mail on the way stays on the way."""
        end = self.time + seconds
        while due := sorted((a for a in self.alarms if a[0] <= end), key=lambda alarm: alarm[0]):
            self.alarms.remove(due[0])
            self.time = max(self.time, due[0][0])
            due[0][1]()
            for place in self.nodes.values():
                place.pump_all()
        self.time = end

    def crash(self, node_id: str) -> None:
        """The node is gone, its mail on the way too; nobody knows yet (`Session.node_lost` tells the others)."""
        del self.nodes[node_id]
        self.links = {link: mail for link, mail in self.links.items() if node_id not in link}
        self.records = {canonical_name: s for canonical_name, s in self.records.items() if s.host.node_id != node_id}


class Place:
    """One node: the host of its sessions."""

    def __init__(self, world: World, node_id: str) -> None:
        self.world = world
        self.node_id = self.node = node_id
        self.limits = world.limits
        self.counts = Counts()
        self.partner_node_counts = PartnerNodeCounts()
        self.begun: list[Session] = []
        self.authenticates = False
        self.refusal: Code | None = None  # of every claim
        self.flush_generation = 0
        self.sessions: dict[str, Session] = {}
        self.endings: list[tuple[str, Ending]] = []

    @property
    def now(self) -> float:
        """Time stands still unless the test lets it pass."""
        return self.world.time

    @property
    def instant(self) -> float:
        """Here the clock doesn't step."""
        return self.world.time

    @property
    def allowance(self) -> int:
        """There is memory enough."""
        return PLENTY

    @property
    def call_seconds(self) -> float:
        """See `SessionRuntime`."""
        return self.limits.call

    @property
    def crowded(self) -> bool:
        """See `SessionRuntime`."""
        return self.world.crowded

    def check_partners(self) -> None:
        """What was counted as partners came and went is what a look at all sessions shows."""
        seen: Counter[str] = Counter()
        living = [session for session in self.begun if session.state is not State.ENDED]
        for session in living:
            if session.chat is not None:
                seen[session.chat.partner.node_id] += 1
            if session.pairing.promised is not None:
                seen[session.pairing.promised.partner.node_id] += 1
        assert self.partner_node_counts._counts == seen
        assert self.partner_node_counts.chatting == sum(session.chat is not None for session in living)

    def user(self, *, program: bool = True) -> "User":
        """A client that connects here."""
        session = Session(self, resumable=program)
        self.begun.append(session)
        user = User(session)
        session.connect(cast(ClientConnection, user))
        return user

    def admit(self, session: Session, claim: Claim) -> Code | None:
        """See `SessionRuntime`."""
        return self.refusal

    def admits_call(self, session: Session) -> bool:
        """See `SessionRuntime`."""
        return self.refusal is None

    def tell(self, session: Session, event: Event) -> None:
        """See `SessionRuntime`."""
        user = user_of(session)
        if user is not None:
            user.told.append(event)

    def post(self, node_id: str, mail: Mail) -> None:
        """See `SessionRuntime`."""
        self.flush_generation += 1  # each piece of mail by itself, so that tests see them one by one
        if node_id in self.world.nodes:
            self.world.links.setdefault((self.node_id, node_id), deque()).append(mail)

    def deliver(self, mail: Mail) -> None:
        """Mail arrives here."""
        session = self.sessions.get(mail.to)
        if session is None or not session.named:
            peer_handlers.undeliverable(self, mail)
        else:
            peer_handlers.receive(session, mail)
            self.pump(session)

    def pump(self, session: Session) -> None:
        """Lines that waited."""
        user = user_of(session)
        if user is not None:
            user.pump()

    def pump_all(self) -> None:
        """Lines that waited for something that isn't mail."""
        for session in list(self.sessions.values()):
            self.pump(session)

    def send_if_writable(self, session: Session, event: Event) -> None:
        """See `SessionRuntime`: every client reads at once, unless the test says otherwise."""
        user = user_of(session)
        if user is not None and not user.behind:
            self.tell(session, event)

    def moved(self, mail: SessionMoved) -> None:
        """See `SessionRuntime`: here sessions come at once, or not at all."""

    def post_if_writable(self, node_id: str, mail: Mail) -> None:
        """See `SessionRuntime`: it leaves unless the test says that the links are full."""
        if self.world.flowing:
            self.post(node_id, mail)

    def claim(self, session: Session, name: Name, claim: Claim) -> None:
        """See `SessionRuntime`."""

        def answer() -> None:
            if not self.world.available:
                session.unclaimed(Code.UNAVAILABLE)
            elif name.canonical_name in self.world.records:
                session.unclaimed(Code.NAME_TAKEN)
            else:
                self.world.ids += 1
                self.world.records[name.canonical_name] = self.sessions[name.canonical_name] = session
                session.claimed(f"s{self.world.ids}", self.world.ids, f"token{self.world.ids}", "hash")
            self.pump(session)

        self.world.answers.append(answer)

    def resume(self, session: Session, name: Name, claim: Claim) -> None:
        """See `SessionRuntime`. The token is the session's id; the old node is told as the real one is."""

        def answer() -> None:
            old = self.world.records.get(name.canonical_name)
            assert claim.resume is not None
            if session.state is State.ENDED:
                return
            if not self.world.available:
                session.unclaimed(Code.UNAVAILABLE)
            elif old is None or old.session_id != claim.resume.token or not old.named:
                session.unclaimed(Code.BAD_TOKEN)
            else:
                self._inherit(session, old, claim)
            self.pump(session)

        self.world.answers.append(answer)

    def _inherit(self, session: Session, old: Session, claim: Claim) -> None:
        self.world.ids += 1
        assert old.name is not None
        engaged = old.engaged
        self.world.records[old.canonical_name] = self.sessions[old.canonical_name] = session
        fencing_token = self.world.ids
        session.inherit(
            RestoredState(old.name, old.session_id, fencing_token, "hash", engaged, old.ended, old.previous_chat)
        )
        if old.host.node_id in self.world.nodes:
            old.replaced(fencing_token, self.node_id)
        resume.come_back(session, claim)

    def locate(self, canonical_name: str, then: Callable[[Located | Code], None]) -> None:
        """See `SessionRuntime`."""

        def answer() -> None:
            if not self.world.available:
                then(Code.UNAVAILABLE)
            elif (owner := self.world.records.get(canonical_name)) is None:
                then(Located(Presence.OFFLINE))
            else:
                then(Located(owner.presence, owner.host.node_id))
            self.pump_all()

        self.world.answers.append(answer)

    def save(self, session: Session, then: Callable[[bool], None] | None = None) -> None:
        """See `SessionRuntime`."""
        if then is not None:

            def answer() -> None:
                then(self.world.available)
                self.pump(session)

            self.world.answers.append(answer)

    def release(self, session: Session, then: Callable[[], None], why: Ending) -> None:
        """See `SessionRuntime`."""
        self.forget(session, why)

        def answer() -> None:
            self.world.records.pop(session.canonical_name, None)
            then()

        self.world.answers.append(answer)

    def forget(self, session: Session, why: Ending) -> None:
        """See `SessionRuntime`."""
        self.endings.append((session.canonical_name, why))
        if self.sessions.get(session.canonical_name) is session:
            del self.sessions[session.canonical_name]

    def close(self, session: Session) -> None:
        """See `SessionRuntime`."""
        user = user_of(session)
        session.disconnect()
        if user is not None:
            user.closed = True

    def called(self, session: Session) -> None:
        """See `SessionRuntime`: here no line waits without being asked for."""

    def wake(self, session: Session) -> None:
        """See `SessionRuntime`: here everyone pumps anyway, whenever something has happened."""

    def call_later(self, delay: float, then: Callable[[], None]) -> None:
        """See `SessionRuntime`."""
        self.world.alarms.append((self.world.time + delay, then))

    def new_id(self) -> str:
        """See `SessionRuntime`."""
        self.world.ids += 1
        return f"chat{self.world.ids}"


@dataclass
class User:
    """A client: what it says in order, what it was told."""

    session: Session
    told: list[Event] = field(default_factory=list)
    lines: deque[Command] = field(default_factory=deque)
    closed: bool = False
    behind: bool = False  # has still to read what it was told

    def says(self, *commands: Command) -> None:
        """Send lines; each is handled when it's its turn."""
        self.lines.extend(commands)
        self.pump()

    def pump(self) -> None:
        """Handle lines as far as the session lets them."""
        while self.lines and not self.session.blocked:
            self.session.receive(self.lines.popleft())

    def hears(self) -> list[Event]:
        """What it was told since it was last asked."""
        told, self.told = self.told, []
        return told

    def reads(self) -> None:
        """The kernel takes all that it was told, and what follows from that happens."""
        self.session.flushed()
        self.session.host.world.settle()  # type: ignore[attr-defined]

    @property
    def partner(self) -> str | None:
        """Whom it believes to be chatting with, by what it was told."""
        partner = None
        for event in self.told:
            if isinstance(event, Paired):
                partner = event.name
            elif isinstance(event, Left):
                partner = None
        return partner

    def texts(self) -> list[str]:
        """The messages that it was told."""
        return [text for event in self.told if isinstance(event, Messages) for text in event.texts]


def user_of(session: Session) -> User | None:
    """The client of a session; None if it has none any more. Here no session has another kind of connection."""
    return cast("User | None", session.client)


def enter(place: Place, name: str, *, program: bool = True, acks: bool = False) -> User:
    """A user who has a name."""
    user = place.user(program=program)
    user.says(Claim(name, acks))
    place.world.settle()
    assert isinstance(user.hears()[-1], Welcome)
    return user


def pair(caller: User, callee: User) -> str:
    """Both in a chat, and told so; returns its id."""
    assert callee.session.name is not None
    caller.says(Call(callee.session.name.display_name))
    caller.session.host.world.settle()  # type: ignore[attr-defined]
    (here,), (there,) = caller.hears(), callee.hears()
    assert isinstance(here, Paired)
    assert isinstance(there, Paired)
    assert here.chat == there.chat
    return here.chat


def in_words(event: Event) -> str:
    """An event in two words, for tables: what, and whom it is about."""
    match event:
        case Paired():
            return f"{'calling' if event.caller else 'called by'} {event.name}"
        case Refused():
            return f"{event.code} {event.name}"
        case Left():
            return f"{event.name} {event.reason}"
    return type(event).__name__


def codes(user: User) -> list[Code]:
    """The refusals that a user was told since it was last asked; there may be nothing else."""
    told = user.hears()
    assert all(isinstance(event, Refused) for event in told), told
    return [event.code for event in told if isinstance(event, Refused)]


def comes_back(user: User, place: Place, chat: str = "", sent: int | None = 0, last: int = 0, left: str = "") -> User:
    """The same client on another node, without waiting for anything to happen."""
    again = place.user()
    session = user.session
    again.says(Claim(session.canonical_name, True, Resume(session.session_id, chat or None, sent, last, left or None)))
    return again
