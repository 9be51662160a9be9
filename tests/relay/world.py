"""Nodes in memory: sessions, claims and hubs as they are; the clients, the bus and the directory are the test's.

Nothing happens by itself. `settle()` lets everything happen in a fixed order, and `happen()` one thing of the test's
choice.
"""

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import cast

from relay.directory.record import Record
from relay.hub.rate_limit import RateLimiter
from relay.metrics import Counts
from relay.protocol.commands_and_events import (
    Call,
    Claim,
    Command,
    EndOfStream,
    Event,
    Left,
    Messages,
    Paired,
    Refused,
    Resume,
    Welcome,
)
from relay.protocol.errors import Code
from relay.session.peer_messages import Mail
from relay.session.runtime_interface import Limits
from relay.session.session import Session, State
from tests.relay.desk import in_memory
from tests.support.memory import MemoryDirectory
from tests.support.memory_bus import MemoryBus, Way
from tests.support.stepped_loop import SteppedLoop, Tasks

NOON = 1_795_404_840.0  # when every world begins
CHAT = "chat1"  # the id of the first chat

Choice = str | Way


class World:
    """The bus, the directory, and the nodes on them."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.loop = SteppedLoop.at(NOON)
        self.directory = MemoryDirectory(step_by_step=True, clock=self.loop.time)
        self.bus = MemoryBus(step_by_step=True)
        self.nodes: dict[str, Place] = {}
        self.chats = (f"chat{number}" for number in count(1))

    @property
    def time(self) -> float:
        """Time stands still unless the test lets it pass."""
        return self.loop.time()

    @property
    def records(self) -> dict[str, Record]:
        """The directory's records by canonical name."""
        return self.directory.records

    def place(self, node_id: str) -> "Place":
        """The node of this name."""
        return self.nodes[node_id] if node_id in self.nodes else self.nodes.setdefault(node_id, Place(self, node_id))

    def choices(self) -> list[Choice]:
        """What could happen next: mail arrives, or the directory answers."""
        self.run()
        return self._choices()

    def _choices(self) -> list[Choice]:
        return [*self.bus.ways(), *(["directory"] if self.directory.waiting() else [])]

    def happen(self, choice: Choice) -> None:
        """Let one thing happen, and all that follows from it on the same node."""
        self.run()
        self._happen(choice)

    def _happen(self, choice: Choice) -> None:
        with self.loop.running():
            if isinstance(choice, str):
                self.directory.answer()
            else:
                self.bus.deliver(*choice)
            self.loop.run_ready()
        for place in self.nodes.values():
            place.check_partners()

    def carry_out(self) -> Callable[[], None]:
        """Have the directory do what it was asked first. Return what tells its answer."""
        self.run()
        tell = self.directory.carry_out()

        def told() -> None:
            tell()
            self.run()

        return told

    def settle(self) -> None:
        """Let everything happen that needs no time to pass."""
        self.run()
        while choices := self._choices():
            self._happen(choices[0])

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and ring what is due, in order; mail on the way stays on the way."""
        self.run()
        self.loop.pass_time(seconds)
        self.run()

    def run(self) -> None:
        """End the tick of each node, also where a test has called a session without opening one."""
        with self.loop.running():
            for place in self.nodes.values():
                place.hub.open_tick()
            self.loop.run_ready()

    def mail(self) -> list[tuple[Way, Mail]]:
        """Return the mail on its way, each piece with its way."""
        self.run()
        return self.bus.on_the_way()

    def lose(self) -> list[tuple[Way, Mail]]:
        """Take the mail away that is on its way, and return it."""
        self.run()
        return self.bus.lose()

    def crash(self, node_id: str, *, lapsed: bool = True) -> None:
        """The node is gone, its mail on the way too; no other node has noticed it (`Session.node_lost` tells sessions).

        `lapsed`: whether its lease has lapsed, which the directory can tell then.
        """
        self.run()
        self.nodes.pop(node_id).hub.halt()
        self.bus.crash(node_id)
        if lapsed:
            self.directory.lapse(node_id)


class Place:
    """One node."""

    def __init__(self, world: World, node_id: str) -> None:
        self.world = world
        with world.loop.running():
            tasks = Tasks.of(world.loop)
            self.hub = in_memory(world.directory, world.bus, node_id, world.limits, tasks)
            self.hub.open_tick()
        self.hub.ids = world.chats
        self.begun: list[Session] = []

    @property
    def sessions(self) -> dict[str, Session]:
        """Its sessions by canonical name, those that claim one included."""
        return self.hub.sessions

    @property
    def counts(self) -> Counts:
        """What it has counted."""
        return self.hub.counts

    def user(self, *, program: bool = True) -> "User":
        """A client that connects here."""
        user = User(self, program=program)
        self.begun.append(user.session)
        return user

    def deliver(self, mail: Mail) -> None:
        """Let mail arrive that nobody sent."""
        with self.world.loop.running():
            self.hub.receive([mail])
        self.world.run()

    def check_partners(self) -> None:
        """Check that what was counted as partners came and went is what a look at all sessions shows."""
        seen, chatting = list[str](), 0
        for session in self.begun:
            if session.state is not State.ENDED:
                if session.chat is not None:
                    chatting += 1
                    seen.append(session.chat.partner.node_id)
                if session.pairing.promised is not None:
                    seen.append(session.pairing.promised.partner.node_id)
        # private: from outside a number that is too high shows only once the last partner there has gone
        assert self.hub.partner_node_counts._counts == {node_id: seen.count(node_id) for node_id in seen}
        assert self.hub.partner_node_counts.chatting == chatting


class User:
    """A client and its connection: what it says in order, what it was told. It speaks and hears events, not bytes."""

    dialect = "unknown"  # of the log
    peer = ""
    held_bytes = 0

    def __init__(self, place: Place, *, program: bool) -> None:
        self.place = place
        self.world = place.world
        self.told: list[Event] = []
        self.lines = deque[Command]()
        self.closed = False
        self.behind = False  # has still to read what it was told
        self.hung_up = False  # has said its last line
        self.token = ""  # with which it may come back
        self.rate_limiter = RateLimiter(place.hub.limits)
        with self.world.loop.running():
            self.session = place.hub.plug(self, resumable=program)

    # --- the client

    def says(self, *commands: Command) -> None:
        """Send lines, each in a tick of its own; each is handled when it's its turn."""
        for command in commands:
            if not self.closed:
                self.hung_up = self.hung_up or isinstance(command, EndOfStream)
                self.lines.append(command)
                with self.world.loop.running():
                    self.place.hub.open_tick()
                    self.pump()
                    self.world.loop.run_ready()

    def breaks_off(self) -> None:
        """The connection is lost, and with it what was told and not read."""
        with self.world.loop.running():
            self.place.hub.open_tick()
            self.place.hub.unplug(self.session, self)
        if not self.hung_up:
            self.says(EndOfStream())

    def hears(self) -> list[Event]:
        """Return the new events."""
        told, self.told = self.told, []
        return told

    def reads(self) -> None:
        """Read everything, and let everything happen that follows."""
        self.session.flushed()
        self.world.settle()

    @property
    def partner(self) -> str | None:
        """The partner that the client believes to have, by what it was told."""
        partner = None
        for event in self.told:
            if isinstance(event, Paired):
                partner = event.name
            elif isinstance(event, Left):
                partner = None
        return partner

    def texts(self) -> list[str]:
        """Return the messages that it was told."""
        return [text for event in self.told if isinstance(event, Messages) for text in event.texts]

    # --- the connection, see `ClientConnection` and `ClientWriter`

    @property
    def write_buffer(self) -> "User":
        """What is told is read at once, unless the test says otherwise."""
        return self

    @property
    def size(self) -> int:
        return 0

    def tell(self, event: Event) -> bool:
        if isinstance(event, Welcome) and event.token:
            self.token = event.token
        self.told.append(event)
        return True

    def tell_ack(self) -> bool:
        return False

    def end_tick(self) -> None:
        self.pump()

    def pump(self) -> None:
        """Handle lines as far as the session lets them."""
        while self.lines and self.session.client is self and not self.session.blocked:
            self.session.receive(self.lines.popleft())

    def close(self) -> None:
        self.closed = True
        self.lines.clear()

    def called(self) -> None:
        """Nothing: here no line was written for another partner than the one it reaches."""

    def serve(self, session: Session) -> None:
        self.session = session

    def check_tcp_peer(self) -> None:
        raise AssertionError("nobody looks after peers here")


def user_of(session: Session) -> User | None:
    """Return the client of a session, or None if it has none any more. All connections here are of this kind."""
    return cast("User | None", session.client)


def enter(place: Place, name: str, *, program: bool = True, acks: bool = False) -> User:
    """Return a user who has a name."""
    user = place.user(program=program)
    user.says(Claim(name, acks))
    place.world.settle()
    assert isinstance(user.hears()[-1], Welcome)
    return user


def pair(caller: User, callee: User) -> str:
    """Pair the two, and return the id of their chat."""
    assert callee.session.name is not None
    caller.says(Call(callee.session.name.display_name))
    caller.world.settle()
    (here,), (there,) = caller.hears(), callee.hears()
    assert isinstance(here, Paired)
    assert isinstance(there, Paired)
    assert here.chat == there.chat
    return here.chat


def in_words(event: Event) -> str:
    """Return an event in two words for tables: its kind, and the user."""
    match event:
        case Paired():
            return f"{'calling' if event.caller else 'called by'} {event.name}"
        case Refused():
            return f"{event.code} {event.name}"
        case Left():
            return f"{event.name} {event.reason}"
    return type(event).__name__


def codes(user: User) -> list[Code]:
    """Return the new refusals of a user, who must have been told nothing else."""
    told = user.hears()
    assert all(isinstance(event, Refused) for event in told), told
    return [event.code for event in told if isinstance(event, Refused)]


def comes_back(user: User, place: Place, chat: str = "", sent: int | None = 0, last: int = 0, left: str = "") -> User:
    """Return the same client on another node, before anything happens."""
    again = place.user()
    again.token = user.token
    name = user.session.canonical_name
    again.says(Claim(name, True, Resume(user.token, chat or None, sent, last, left or None)))
    return again


def is_found(user: User) -> User:
    """The directory answers until the session that a client has come back to is on its node."""
    while user.session.state is State.CLAIMING:
        user.world.happen("directory")
    return user
