"""The history of a run for the checker: what every client saw, and which faults there were.

Times are seconds of one clock. Every text is unique (`key`), so that it can be recognized wherever it arrives.
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct, field

OPEN: Final = float("inf")


class Kind(StrEnum):
    """The kind of a client, which decides what may be lost."""

    PROGRAM = "program"  # JSON with its own acknowledgements: no message may be lost
    LAZY = "lazy"  # JSON whose node acknowledges: messages in flight may be lost with its connection
    PERSON = "person"  # text


class End(StrEnum):
    """How a session ended, as its client saw it."""

    OPEN = "open"  # it hasn't ended
    QUIT = "quit"
    BROKEN = "broken"  # a text client's connection was lost
    FORGOTTEN = "forgotten"  # the node answered `bad_token`
    NAME_LOST = "name_lost"


class Span(Struct):
    """An interval of time, with both ends included."""

    began: float
    ended: float = OPEN

    def holds(self, at: float) -> bool:
        """Return whether the interval includes this time."""
        return self.began <= at <= self.ended

    def meets(self, began: float, ended: float) -> bool:
        """Return whether the interval overlaps the one between these times."""
        return self.began <= ended and began <= self.ended


class Connection(Struct):
    """One connection of a session, with its node and its time."""

    node: int
    span: Span


class Session(Struct):
    """One ownership of a name, from its welcome to its end. A JSON client's session survives its connections."""

    serial: int
    name: str
    kind: Kind
    span: Span
    stranger: bool = False  # a user who tries names that belong to others
    end: End = End.OPEN
    connections: list[Connection] = field(default_factory=list)
    refusals: int = 0  # messages that were answered with "Nobody is chating with you"
    stalls: list[Span] = field(default_factory=list)  # times when its client reads nothing, in order

    def connection(self, at: float) -> Connection | None:
        """Return the connection at this time, or None if there was none."""
        return next((c for c in reversed(self.connections) if c.span.holds(at)), None)


class Said(Struct):
    """One message, sent by `session` to `to` in `chat` (empty if the dialect has no chats)."""

    key: str
    session: int
    to: str
    chat: str
    at: float
    id: int = 0
    outcomes: list[str] = field(
        default_factory=list
    )  # "acked", or the reason why it is unconfirmed; at most one is right


class Heard(Struct):
    """The arrival of one message."""

    key: str
    session: int
    chat: str
    sender: str
    at: float
    id: int = 0


class Parted(Struct):
    """A session was told that its chat is over."""

    session: int
    partner: str
    chat: str
    reason: str
    since: float  # the time when it was told of the chat
    at: float
    asked: bool = False  # it had called another user or asked to leave


class View(Struct):
    """The partner and chat that a session believes to have, at the end."""

    session: int
    name: str
    kind: Kind
    partner: str
    chat: str


class Arrival(Struct):
    """A new user's visit: it claims a name, calls a user who doesn't exist, and leaves."""

    name: str
    node: int
    at: float
    answered: float = OPEN
    left: float = OPEN
    ended: float = OPEN  # time when the connection was over, or the user stopped waiting


class Fault(Struct):
    """One fault of the nemesis, on `node`, or on none in particular if that is -1."""

    kind: str
    span: Span
    node: int = -1


class History(Struct):
    """All events of a run, in the order in which they happened."""

    sessions: list[Session] = field(default_factory=list)
    said: dict[str, Said] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    parted: list[Parted] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)  # violations of the protocol that a client noticed
    announced: dict[tuple[int, str], float] = field(default_factory=dict)  # first time by session and partner
    chats: dict[str, set[int]] = field(default_factory=dict)  # the sessions that were told of each chat

    def begin(self, name: str, kind: Kind, at: float, node: int, *, stranger: bool = False) -> Session:
        """Record that a client was given a name, and return its session."""
        session = Session(len(self.sessions), name, kind, Span(at), stranger)
        session.connections.append(Connection(node, Span(at)))
        self.sessions.append(session)
        return session

    def paired(self, session: Session, partner: str, at: float, chat: str = "") -> None:
        """Record that a session was told of a partner, and of the chat if its dialect has chats."""
        self.announced.setdefault((session.serial, partner), at)
        self.chats.setdefault(chat, set()).add(session.serial)


def stall(session: Session, at: float, until: float) -> None:
    """Record that the client reads nothing between these times. It may decide so again while it does."""
    if session.stalls and session.stalls[-1].holds(at):
        session.stalls[-1].ended = until
    else:
        session.stalls.append(Span(at, until))


def reconnect(session: Session, node: int, at: float) -> None:
    """Record that the session is back on a new connection."""
    cut(session, at)
    session.connections.append(Connection(node, Span(at)))


def cut(session: Session, at: float) -> None:
    """Record that the session has lost its connection."""
    if session.connections and session.connections[-1].span.ended == OPEN:
        session.connections[-1].span.ended = at


def close(session: Session, end: End, at: float) -> None:
    """Record that the session is over."""
    cut(session, at)
    if session.end is End.OPEN:
        session.end, session.span.ended = end, at
