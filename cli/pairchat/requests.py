"""The requests of a client to a node, and their outcomes."""

from collections import deque
from dataclasses import dataclass
from enum import Enum

from pairchat import events
from pairchat.errors import NameLost, PairchatError, Refused
from relay.protocol import frames

GIVEN_UP = "declined"  # what comes of a call that its caller gives up, in the node's words


class Kind(Enum):
    """The kind of a request."""

    CLAIM = "claim"
    CALL = "call"
    LEAVE = "leave"
    WHO = "who"
    BLOCK = "block"
    UNBLOCK = "unblock"
    ACCEPT = "accept"
    PING = "ping"
    RETURN = "return"  # the ping behind a resume: its pong says that all that stands has been told
    QUIT = "quit"


@dataclass(eq=False)
class Request:
    """A request to the node. `outcome` is None until it is known: then the event that answers, or an error.

    `ref` is the label that the program gave. The node receives `mark` in its place, which no other request has.
    """

    kind: Kind
    frame: frames.ClientFrame
    name: str = ""
    ref: events.Ref | None = None
    mark: int = 0  # 0 if the answer needs none
    outcome: "events.Event | PairchatError | None" = None
    perhaps: events.Paired | None = None  # for a CALL: a pairing that may be the answer, under another spelling
    overtaken: bool = False  # for a CALL: its pong came first
    given_up: bool = False  # for a CALL: the program gave it up
    written: bool = False  # a node may have received it


class Requests:
    """What was asked and has no outcome, oldest first, and what each pong to come is for."""

    def __init__(self) -> None:
        self.open: list[Request] = []
        self._pings: deque[Request] = deque()
        # Calls that were given up, of which their node may not have heard: it may make a chat while we are away.
        self.forsaken: list[str] = []

    def marked(self, mark: events.Ref | None) -> Request | None:
        """The request that an answer with this mark is about, if it has no outcome."""
        return next((request for request in self.open if mark is not None and request.mark == mark), None)

    def first(self, *kinds: Kind) -> Request | None:
        """The oldest request of these kinds that has no outcome."""
        return next((request for request in self.open if request.kind in kinds), None)

    def about(self, mark: events.Ref | None, kind: Kind) -> Request | None:
        """The request that an answer of this kind is about: the one with the mark, else the oldest."""
        return self.marked(mark) or self.first(kind)

    def answer(self, request: Request | None, outcome: "events.Event | PairchatError") -> None:
        """This is what became of it."""
        if request is not None and request.outcome is None:
            request.outcome = outcome
            self.open.remove(request)

    def pinged(self, request: Request) -> None:
        """A ping is on the wire now, for this request or behind it."""
        self._pings.append(request)

    def disconnected(self) -> None:
        """No pong will come, and nothing that was told so far is an answer. A call that was given up isn't repeated."""
        self._pings.clear()
        for request in list(self.open):
            request.perhaps, request.overtaken = None, False
            if request.given_up:
                self.forsake(request)

    def forsake(self, call: Request) -> None:
        """A call is given up without a word to its node, which can't be reached."""
        if call.written:
            self.forsaken.append(call.name)
        self.answer(call, given_up(call))

    def resumed(self) -> None:
        """We know all that happened while we were away."""
        self.forsaken.clear()

    def pong(self) -> Request | None:
        """A pong came: what its ping followed."""
        return self._pings.popleft() if self._pings else None

    def ping_refused(self) -> bool:
        """A refusal that names nothing came: whether it answers a ping."""
        refused = bool(self._pings) and self._pings[0].kind is Kind.PING
        if refused:
            self._pings.popleft()
        return refused

    def fail(self, message: str) -> None:
        """The name is gone, and with it every answer."""
        for request in list(self.open):
            self.answer(request, NameLost(message))
        self._pings.clear()


def given_up(call: Request) -> Refused:
    """The outcome of a call that its caller gave up."""
    return Refused(GIVEN_UP, "the call was given up", name=call.name)
