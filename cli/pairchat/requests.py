"""What can be asked of a node, and what is known of the answer."""

from collections import deque
from dataclasses import dataclass
from enum import Enum

from pairchat import events
from pairchat.errors import NameLost, PairchatError
from relay import frames


class Kind(Enum):
    """What was asked for."""

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
    """Something asked of the node. `outcome` is set once: the event that answers it, or the error to raise."""

    kind: Kind
    frame: frames.ClientFrame
    name: str = ""
    outcome: "events.Event | PairchatError | None" = None
    perhaps: events.Paired | None = None  # CALL: a pairing that may be the answer, under a name that isn't quite ours
    overtaken: bool = False  # CALL: its pong came first


class Requests:
    """What was asked and has no outcome, oldest first, and what each pong to come is for."""

    def __init__(self) -> None:
        self.open: list[Request] = []
        self._pings: deque[Request] = deque()

    def first(self, *kinds: Kind) -> Request | None:
        """The oldest request of these kinds that has no outcome."""
        return next((request for request in self.open if request.kind in kinds), None)

    def answer(self, request: Request | None, outcome: "events.Event | PairchatError") -> None:
        """This is what became of it."""
        if request is not None and request.outcome is None:
            request.outcome = outcome
            self.open.remove(request)

    def written(self, request: Request) -> None:
        """It is on the wire now."""
        if request.kind in (Kind.CALL, Kind.PING, Kind.RETURN):
            self._pings.append(request)

    def disconnected(self) -> None:
        """No pong will come, and nothing that was told so far is an answer."""
        self._pings.clear()
        for request in self.open:
            request.perhaps, request.overtaken = None, False

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
