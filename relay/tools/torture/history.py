"""What every client of a run saw, and what was broken when: all that the checker looks at.

Times are seconds of one clock. Every text is unique (`key`), so that it can be recognized wherever it turns up.
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct, field

OPEN: Final = float("inf")


class Kind(StrEnum):
    """What a client promises."""

    PROGRAM = "program"  # JSON, acknowledges itself: nothing may be lost
    LAZY = "lazy"  # JSON, its node acknowledges: what is on its way to it may go with its connection
    PERSON = "person"  # text


class End(StrEnum):
    """How a session ended, as its client saw it."""

    OPEN = "open"  # it hasn't
    QUIT = "quit"
    BROKEN = "broken"  # a text client's connection was lost
    FORGOTTEN = "forgotten"  # `bad_token`
    NAME_LOST = "name_lost"


class Span(Struct):
    """From when to when something held."""

    began: float
    ended: float = OPEN

    def holds(self, at: float) -> bool:
        """Whether it held then."""
        return self.began <= at <= self.ended

    def meets(self, began: float, ended: float) -> bool:
        """Whether it held at some time between these two."""
        return self.began <= ended and began <= self.ended


class Connection(Struct):
    """One connection of a session: to which node, from when to when."""

    node: int
    span: Span


class Session(Struct):
    """One ownership of a name, from its welcome to its end; survives its connections where the dialect lets it."""

    serial: int
    name: str
    kind: Kind
    span: Span
    stranger: bool = False  # someone who tries names that belong to others
    end: End = End.OPEN
    connections: list[Connection] = field(default_factory=list)
    refusals: int = 0  # texts that were answered with "Nobody is chating with you"

    def connection(self, at: float) -> Connection | None:
        """The connection that it had then."""
        return next((c for c in reversed(self.connections) if c.span.holds(at)), None)


class Said(Struct):
    """One message: written by `session` to `to` in `chat` (empty where the dialect has no chats)."""

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
    """One message arrived."""

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
    since: float  # when it was told of the chat
    at: float
    asked: bool = False  # it had called somebody, or wanted to leave


class View(Struct):
    """Whom a session believes to be in a chat with, at the end."""

    session: int
    name: str
    kind: Kind
    partner: str
    chat: str


class Arrival(Struct):
    """Somebody new came to a node, was given a name or refused, asked for somebody who isn't there, and left."""

    name: str
    node: int
    at: float
    answered: float = OPEN
    left: float = OPEN
    ended: float = OPEN  # when the connection was over, or nobody waited any longer


class Fault(Struct):
    """One thing that the nemesis broke. `node`: which; -1: none in particular."""

    kind: str
    span: Span
    node: int = -1


class History(Struct):
    """Everything, in the order in which it happened."""

    sessions: list[Session] = field(default_factory=list)
    said: dict[str, Said] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    parted: list[Parted] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)  # what the protocol doesn't know
    announced: dict[tuple[int, str], float] = field(default_factory=dict)  # session, partner: when first
    chats: dict[str, set[int]] = field(default_factory=dict)  # the sessions that were told of each chat

    def begin(self, name: str, kind: Kind, at: float, node: int, *, stranger: bool = False) -> Session:
        """A client was given a name."""
        session = Session(len(self.sessions), name, kind, Span(at), stranger)
        session.connections.append(Connection(node, Span(at)))
        self.sessions.append(session)
        return session

    def paired(self, session: Session, partner: str, at: float, chat: str = "") -> None:
        """A session was told of a partner, in a chat where its dialect has such a thing."""
        self.announced.setdefault((session.serial, partner), at)
        self.chats.setdefault(chat, set()).add(session.serial)


def reconnect(session: Session, node: int, at: float) -> None:
    """The session is back on a new connection."""
    cut(session, at)
    session.connections.append(Connection(node, Span(at)))


def cut(session: Session, at: float) -> None:
    """The session has no connection any more."""
    if session.connections and session.connections[-1].span.ended == OPEN:
        session.connections[-1].span.ended = at


def close(session: Session, end: End, at: float) -> None:
    """The session is over."""
    cut(session, at)
    if session.end is End.OPEN:
        session.end, session.span.ended = end, at
