"""Who is told what by the parts of the bus, and what each of them promises."""

from collections.abc import Iterable
from typing import Protocol

from relay.bus.link import Frame
from relay.session.peer_messages import Mail


class NodeLease(Protocol):
    """What the bus has to know of the lease of its node, and tells it."""

    seconds: float  # for which every node holds its lease

    @property
    def standing(self) -> bool:
        """Whether the lease holds. While it doesn't, nothing is published and no mail is taken."""

    def reconnected(self) -> None:
        """A connection to Redis was made, perhaps to another server than before."""


class BusDelegate(Protocol):
    """Whom the bus serves: the node's hub. Each method is called in the event loop and returns at once."""

    def open_tick(self) -> None:
        """Call `Bus.flush` at the end of this turn: something has gathered that may leave now."""

    def receive(self, mails: list[Mail]) -> None:
        """Take mail that came from another node: all of one frame, in order, and each piece once."""

    def forgot(self, node_id: str) -> None:
        """Settle with that node what was lost: it had forgotten this one, so what was under way to it never arrives.

        This is called before any mail that the node has sent since then.
        """

    def heed(self, frame: Frame) -> None:
        """Handle a frame that isn't mail, such as a roll call or a farewell."""


class ConnectionDelegate(Protocol):
    """Whom the two ends of the bus tell of their connections, and of what comes on them: the bus itself."""

    def connected(self) -> None:
        """A connection to Redis was made, the first one or a new one."""

    def publishing_anew(self) -> None:
        """The connection on which everything leaves was made anew: what was under way to other nodes may be lost."""

    def rerouted(self, node_ids: set[str], *, own: bool) -> None:
        """The way to these nodes' inboxes was made anew: what was under way to them, and from them, may be lost.

        `own`: so was the way of this node's own probes.
        """

    def has_room(self) -> None:
        """Mail that was held back because too much was under way can be published now."""

    def subscribed(self) -> None:
        """The subscription was made anew: what others sent meanwhile is lost."""

    def doubt(self) -> None:
        """A connection is gone, or a server doesn't do what it should."""

    def received(self, frame: Frame) -> None:
        """Another node sent this frame."""

    def echoed(self, number: int) -> None:
        """The probe of this number came back to its own node."""


class PublisherDelegate(Protocol):
    """Whom a publisher on a cluster tells what became of its commands and connections: `Publisher`."""

    def answered(self, reply: object, count: int, server: str) -> None:
        """The server carried out, or refused, so many commands; `reply` is an exception if it refused."""

    def unanswered(self, count: int) -> None:
        """So many commands won't be answered any more, or their channel is served elsewhere."""

    def connected(self) -> None:
        """A connection to a primary was made."""

    def rerouted(self, channels: Iterable[str]) -> None:
        """The way to these channels was made anew: what is under way on them may be lost."""

    def gave_up(self) -> None:
        """A connection was given up because its answers didn't come."""
