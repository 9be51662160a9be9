"""The requests of a client to a node, and their outcomes."""

from collections import deque
from dataclasses import dataclass
from enum import Enum

from pairchat import events
from pairchat.errors import NameLost, PairchatError, Refused
from relay.protocol import json_frames

GIVEN_UP = "declined"  # the node's code for a call that the caller gave up


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
    RETURN = "return"  # the ping after a resume; its pong means that the node has reported the session's state
    QUIT = "quit"


@dataclass(eq=False)
class Request:
    """A request to the node. `outcome` is None until it is known: then the event that answers, or an error.

    `ref` is the label that the program gave. The node receives `mark` in its place, which no other request has.
    """

    kind: Kind
    frame: json_frames.ClientFrame
    name: str = ""
    ref: events.Ref | None = None
    mark: int = 0  # 0 if the answer needs none
    outcome: "events.Event | PairchatError | None" = None
    perhaps: events.Paired | None = None  # for a CALL: a pairing that may be the answer, under another spelling
    overtaken: bool = False  # for a CALL: its pong came first
    given_up: bool = False  # for a CALL: the program gave it up
    written: bool = False  # a node may have received it


class PendingRequests:
    """The requests without an outcome, oldest first, and the requests that the next pongs belong to."""

    def __init__(self) -> None:
        self.open: list[Request] = []
        self._pings: deque[Request] = deque()
        # Names in calls that were given up without the node's knowledge. The node may still start their chats.
        self.forsaken: list[str] = []

    def marked(self, mark: events.Ref | None) -> Request | None:
        """Return the request with this mark, or None if there is none without an outcome."""
        return next((request for request in self.open if mark is not None and request.mark == mark), None)

    def first(self, *kinds: Kind) -> Request | None:
        """Return the oldest request of these kinds without an outcome, or None."""
        return next((request for request in self.open if request.kind in kinds), None)

    def about(self, mark: events.Ref | None, kind: Kind) -> Request | None:
        """Return the request that an answer belongs to: the one with the mark, or else the oldest of this kind."""
        return self.marked(mark) or self.first(kind)

    def answer(self, request: Request | None, outcome: "events.Event | PairchatError") -> None:
        """Set the outcome of a request and remove it from the open ones. Does nothing for None."""
        if request is not None and request.outcome is None:
            request.outcome = outcome
            self.open.remove(request)

    def pinged(self, request: Request) -> None:
        """Record a ping that was written for this request or after it."""
        self._pings.append(request)

    def disconnected(self) -> None:
        """Reset what depends on the lost connection: expected pongs and possible answers. Close calls given up."""
        self._pings.clear()
        for request in list(self.open):
            request.perhaps, request.overtaken = None, False
            if request.given_up:
                self.forsake(request)

    def forsake(self, call: Request) -> None:
        """Give up a call while its node can't be reached."""
        if call.written:
            self.forsaken.append(call.name)
        self.answer(call, given_up(call))

    def resumed(self) -> None:
        """Clear the calls given up without a connection, because the node has reported the session's state."""
        self.forsaken.clear()

    def pong(self) -> Request | None:
        """Return the request that the next pong belongs to, or None."""
        return self._pings.popleft() if self._pings else None

    def ping_refused(self) -> bool:
        """Return True if a refusal without a name answers a plain ping, and drop that ping."""
        refused = bool(self._pings) and self._pings[0].kind is Kind.PING
        if refused:
            self._pings.popleft()
        return refused

    def fail(self, message: str) -> None:
        """End all requests with `NameLost`, because the session has no name any more."""
        for request in list(self.open):
            self.answer(request, NameLost(message))
        self._pings.clear()


def given_up(call: Request) -> Refused:
    """Return the outcome of a call that its caller gave up."""
    return Refused(GIVEN_UP, "the call was given up", name=call.name)
