"""The interfaces through which the parts of the bus report to each other, to the hub and to the lease."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from relay.bus.reliable_link import Frame
from relay.session.peer_messages import Mail


class NodeLease(Protocol):
    """The lease of the bus's own node, as the bus needs it."""

    seconds: float  # the duration of a lease, the same for all nodes

    @property
    def standing(self) -> bool:
        """Whether the node holds its lease. Without it the bus publishes nothing and accepts no messages."""

    def reconnected(self) -> None:
        """Handle a new connection to Redis, which may lead to another server than before."""


class BusDelegate(Protocol):
    """The user of the bus: the node's hub. Each method is called in the event loop and returns at once."""

    def open_tick(self) -> None:
        """Call `Bus.flush` at the end of this tick, as queued messages may be able to leave now."""

    def receive(self, mails: list[Mail]) -> None:
        """Handle the peer messages of one frame from another node. They arrive in order, and each of them once."""

    def peer_forgot_us(self, node_id: str) -> None:
        """Reconcile with a node that had forgotten this one: messages under way to it will never arrive.

        This is called before any message that the node has sent since then.
        """

    def heed(self, frame: Frame) -> None:
        """Handle a control frame, such as a roll call or a farewell."""


class ConnectionDelegate(Protocol):
    """The owner of the publisher and the subscriber: the bus. It hears of their connections and of received frames."""

    def connected(self) -> None:
        """Handle a connection to Redis, the first one or a new one."""

    def publishing_anew(self) -> None:
        """Handle a new publishing connection: frames under way to other nodes may be lost."""

    def rerouted(self, node_ids: Sequence[str], *, own: bool) -> None:
        """Handle a new route to these nodes' inboxes: frames under way to and from them may be lost.

        `own` says whether this node's own inbox, and so the route of its probes, is among them.
        """

    def has_room(self) -> None:
        """Publish the messages that waited because too many PUBLISH commands were under way."""

    def subscribed(self) -> None:
        """Handle a new subscription: what others sent since the last one is lost."""

    def doubt(self) -> None:
        """Handle a lost connection, or a server that misbehaves."""

    def received(self, frame: Frame) -> None:
        """Handle a frame from another node."""

    def echoed(self, number: int) -> None:
        """Handle the echo of this node's own probe with this number."""


class PublisherDelegate(Protocol):
    """The owner of a publisher backend: `Publisher`. It hears of the fate of commands and connections."""

    def answered(self, reply: object, count: int, server: str) -> None:
        """Handle a reply that covers `count` commands; it is an exception if the server refused them."""

    def unanswered(self, count: int) -> None:
        """Handle `count` commands that get no reply any more, or whose channel another server serves."""

    def connected(self) -> None:
        """Handle a new connection to a primary."""

    def rerouted(self, channels: Iterable[str]) -> None:
        """Handle a new route to these channels: frames under way on them may be lost."""

    def gave_up(self) -> None:
        """Handle a connection that was closed because its replies didn't come."""
