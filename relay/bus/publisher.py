"""The sending end of the bus: it has a few PUBLISH commands under way at once, and reconnects after a loss."""

from collections.abc import Iterable
from functools import partial
from typing import Final, Protocol

from relay.bus.cluster_publisher_backend import ClusterPublisherBackend
from relay.bus.delegates import ConnectionDelegate
from relay.bus.reconnect import Ended, connected, keep
from relay.bus.reliable_link import Kind, note
from relay.bus.standalone_publisher_backend import StandalonePublisherBackend
from relay.logs import Spell
from relay.metrics import Counts
from relay.redis_client.client import RedisClient
from relay.redis_client.connection import RespConnection
from relay.redis_client.keys import Keys
from relay.redis_client.topology_interface import wrong_server

# The maximum number of PUBLISH commands under way. Messages gather meanwhile, and make the next ones larger. With 8,
# and a reply to every fourth, 5,000 messages a second cost a tenth to a fifth more CPU.
UNDER_WAY: Final = 32


Command = tuple[str, str, bytes]


class PublisherBackend(Protocol):
    """Sends PUBLISH commands to a single server or to a cluster."""

    @property
    def address(self) -> str:
        """The address of the server that carries this node's own probes."""

    @property
    def trouble(self) -> str:
        """The reason why the server of the probes accepts nothing now; empty if no trouble is known."""

    @property
    def connections(self) -> tuple[RespConnection, ...]:
        """The connections to close when another server takes the place of theirs."""

    def silent(self, trouble: str) -> int:
        """Return the number of servers at which nothing can be published now. `trouble` is that of the node."""

    def send(self, *commands: Command) -> None:
        """Publish frames. Those that can't be sent are lost."""

    def probe(self, command: Command) -> None:
        """Publish this so that it gets a reply in any case."""

    def forget(self, channel: str) -> None:
        """Forget a channel that has no subscriber any more."""

    def abort(self) -> None:
        """Close the connections that may be broken."""

    def give_up_silent(self) -> bool:
        """Close the connection if its replies don't come. Return whether it was closed."""


class Publisher:
    """Publishes frames to nodes by their ids. Those that can't leave now are lost, which links repair."""

    def __init__(
        self, redis_client: RedisClient, keys: Keys, node_id: str, *, counts: Counts, delegate: ConnectionDelegate
    ) -> None:
        self._redis_client = redis_client
        self._keys = keys
        self._node_id = node_id
        self._counts = counts
        self._inbox, self._inboxes = keys.inbox(node_id), keys.inbox("")
        self._delegate = delegate
        self._publisher: PublisherBackend | None = None
        self.held_up = False  # messages wait: the next reply calls the delegate's `has_room`
        self._under_way = 0
        self._served = False  # the connection has carried out a command
        self._why = "not connected yet"  # the reason why nothing can be published; empty once a command was carried out
        self._refusal = ""  # the last refusal, until servers accept everything again
        self._refused = self._accepted = 0  # replies since the last `check_refusal`
        self._refusals = Spell("publish refused", "publishing is accepted again")

    @property
    def open(self) -> bool:
        """Whether messages may be published now; otherwise they have to wait."""
        return self._publisher is not None and self._under_way < UNDER_WAY

    @property
    def connections(self) -> tuple[RespConnection, ...]:
        """The connection to the only server; empty on a cluster, whose backend watches its connections itself."""
        return self._publisher.connections if self._publisher is not None else ()

    @property
    def address(self) -> str:
        """The address of the server that carries this node's own probes."""
        return self._publisher.address if self._publisher is not None else ""

    @property
    def trouble(self) -> str:
        """The reason why nothing can be published now; empty if no trouble is known."""
        why = self._refusal or self._why or (self._publisher.trouble if self._publisher is not None else "")
        return f"can't publish: {why}" if why else ""

    @property
    def well(self) -> bool:
        """Whether Redis answers PUBLISH and doesn't refuse it."""
        return not self.trouble

    @property
    def silent(self) -> int:
        """The number of servers at which nothing can be published now."""
        return self._publisher.silent(self.trouble) if self._publisher is not None else 1

    def publish(self, frames: list[tuple[str, bytes]]) -> None:
        """Send frames to nodes."""
        if frames and self._publisher is not None:
            self._under_way += len(frames)
            inboxes, commands = self._inboxes, []
            for node_id, frame in frames:  # a loop, because a comprehension is a call on Python 3.11
                commands.append(("PUBLISH", inboxes + node_id, frame))
            self._publisher.send(*commands)

    def tell(self, node_id: str, kind: Kind, number: int = 0) -> None:
        """Send one node a control frame."""
        self.publish([(node_id, note(kind, self._node_id, number))])

    def probe(self, number: int) -> None:
        """Publish a probe to this node itself."""
        if self._publisher is not None:
            self._under_way += 1
            self._publisher.probe(self._probe(number))

    def _probe(self, number: int) -> Command:
        return "PUBLISH", self._inbox, note(Kind.PROBE, self._node_id, number)

    def announce(self, kind: Kind, number: int = 0) -> bool:
        """Send all nodes a control frame. Return False if that isn't possible now."""
        if self._publisher is None:
            return False
        self._under_way += 1
        self._publisher.send(("PUBLISH", self._keys.everyone, note(kind, self._node_id, number)))
        return True

    def forget(self, node_id: str) -> None:
        """Forget the inbox of a dead node."""
        if self._publisher is not None:
            self._publisher.forget(self._keys.inbox(node_id))

    def abort(self) -> None:
        """Close the connections that may be broken."""
        if self._publisher is not None:
            self._publisher.abort()

    def give_up_silent(self) -> bool:
        """Close the connection if its replies don't come, and return whether it was closed.

        On a cluster this does nothing, as the backend watches each connection itself.
        """
        publisher = self._publisher
        if publisher is None:
            return False
        trouble = publisher.trouble
        given_up = publisher.give_up_silent()
        if given_up:
            self._why = trouble
        return given_up

    def check_refusal(self) -> None:
        """End the refusal if commands were accepted, and none refused, since the last call. Call this regularly."""
        if self._refusal and not self._refused and self._accepted:
            self._refusal = ""
            self._refusals.over()
            self._delegate.doubt()
        self._refused = self._accepted = 0

    async def run(self) -> None:
        """Keep up the connection, or on a cluster the connections, until cancelled."""
        if self._redis_client.sharded:
            await self._run_on_cluster()
        else:
            await keep(self._session, "publisher", self._not_made)

    def _not_made(self, error: str) -> None:
        self._why = error

    async def _session(self) -> Ended:
        self._under_way = 0
        self._served = False
        take_over = partial(StandalonePublisherBackend, answered=self.answered, trial=self._probe(0))
        async with connected(self._redis_client, self._inbox, take_over) as publisher:
            self._publisher = publisher
            try:
                self._delegate.connected()
                self._delegate.publishing_anew()
                await publisher.lost.wait()
            finally:
                self._publisher, self._why = None, self._why or f"connection lost to {publisher.address}"
                self._delegate.doubt()
        return Ended(self._served, publisher.address)

    async def _run_on_cluster(self) -> None:
        self._publisher = backend = ClusterPublisherBackend(self._redis_client, self._keys, self._inbox, delegate=self)
        self._why = ""  # each connection of a cluster has its own reason
        await backend.run()

    # --- results of commands and connections

    def answered(self, reply: object, count: int = 1, server: str = "") -> None:
        """Count the reply to `count` commands. `server` is the one that replied, or empty if there is only one."""
        self._under_way -= count
        if isinstance(reply, Exception):
            self._refuse(str(reply), server or self.address)
            if wrong_server(reply):
                self._redis_client.doubt()
                self.abort()
        else:
            self._served, self._why = True, ""
            self._accepted += 1
        if self.held_up:
            self.held_up = False
            self._delegate.has_room()

    def _refuse(self, error: str, server: str) -> None:
        self._refused += 1
        self._counts.publish_refused += 1
        self._refusals.again(server=server, error=error)
        if not self._refusal:
            self._delegate.doubt()
        self._refusal = f"{server} refuses: {error}"

    def unanswered(self, count: int) -> None:
        """Take the commands off the count of those under way."""
        self._under_way -= count

    def gave_up(self) -> None:
        """Count the connection among those that were closed as mute."""
        self._counts.missed_publish_replies += 1

    def connected(self) -> None:
        """Tell the bus that there is a connection to a primary."""
        self._delegate.connected()

    def rerouted(self, channels: Iterable[str]) -> None:
        """Tell the bus which nodes' inboxes have a new route."""
        node_ids = list(dict.fromkeys(channel.rpartition(":")[2] for channel in channels))
        self._delegate.rerouted(node_ids, own=self._node_id in node_ids)
