"""The bus carries peer messages between nodes over Redis pub/sub.

Each node has one inbox channel, and all messages of a tick for one node leave in one PUBLISH. Links (`reliable_link`)
repair the losses of pub/sub. After one of the node's two connections (`publisher`, `relay.bus.subscriber`) was
replaced, the bus retransmits its own frames, or asks other nodes for theirs. It publishes nothing and accepts no
messages while the node doesn't hold its lease.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import anyio

from relay.bus.delegates import BusDelegate, NodeLease
from relay.bus.echo_probe import EchoProbe
from relay.bus.link_table import LinkTable
from relay.bus.publisher import Publisher
from relay.bus.reconnect import follow
from relay.bus.reliable_link import MAIL, MISSING, Frame, Kind, Link
from relay.bus.subscriber import Subscriber
from relay.clock import clock, clocks
from relay.logs import Spell
from relay.metrics import Counts, Limit
from relay.redis_client.client import RedisClient
from relay.redis_client.connection import RespConnection
from relay.redis_client.keys import Keys
from relay.session.peer_messages import UNREADABLE, Ack, Mail, decode

# An acknowledgement leaves this long after the last frame to its node, or earlier with the next frame. Sent at once, at
# 5,000 messages a second, they would cause as many PUBLISHes as the messages. In an idle system they leave at once.
ACK_PAUSE_SECONDS: Final = 0.001
# The interval at which the timers of links are checked.
TICK_SECONDS: Final = 0.05


class Bus:
    """Sends and receives the peer messages of one node, and hands the received ones to its `delegate`."""

    def __init__(
        self,
        redis_client: RedisClient,
        keys: Keys,
        node_id: str,
        delegate: BusDelegate,
        *,
        lease: NodeLease,
        counts: Counts | None = None,
        gather: float = 0.0,
    ) -> None:
        """`gather`: seconds for which messages for a node wait after a frame has left for it, to leave together."""
        self._gather = gather
        self._redis_client = redis_client
        self._lease = lease
        self._delegate = delegate
        self._counts = counts or Counts()
        self._links = LinkTable(node_id, self._counts, lease.seconds)
        self._too_many = Spell("mail from a node too many")
        self._unreadable = Spell("unreadable mail")
        self._dirty: dict[str, None] = {}  # these two are dicts, which keep the order of the messages
        self._owing: dict[str, None] = {}  # nodes for which only acknowledgements wait
        self._resting = False  # whether a timer is set for these
        self._publishing = Publisher(redis_client, keys, node_id, counts=self._counts, delegate=self)
        self._subscription = Subscriber(redis_client, keys, node_id, delegate=self)
        self._echo_probe = EchoProbe(self._publishing, self._subscription, self._counts)
        self._publish = self._publishing.publish

    @property
    def ready(self) -> anyio.Event:
        """An event that is set once the node has received its own probe for the first time."""
        return self._echo_probe.ready

    @property
    def hearing(self) -> bool:
        """Whether the node has received its own probe recently, and since the last failure."""
        return self._echo_probe.hearing

    @property
    def publishing(self) -> bool:
        """Whether Redis answers PUBLISH and doesn't refuse it."""
        return self._publishing.well

    @property
    def address(self) -> str:
        """The address of the server that carries this node's own probes."""
        return self._publishing.address

    @property
    def links(self) -> int:
        """The number of nodes that this one has a link with."""
        return len(self._links)

    @property
    def silent(self) -> int:
        """The number of servers at which nothing can be published now."""
        return self._publishing.silent

    @property
    def trouble(self) -> str:
        """The reason why this node can't reach others, for operators; empty if it can."""
        return self._echo_probe.trouble

    @property
    def quiet(self) -> bool:
        """Whether every node has acknowledged everything."""
        return not self.waiting()

    def waiting(self) -> set[str]:
        """Return the nodes that haven't acknowledged everything."""
        return {node_id for node_id, link in self._links.busy() if link.waiting or link.under_way}

    # --- sending

    def post(self, node_id: str, mail: Mail) -> None:
        """Queue a peer message for a node; it leaves with `flush`. Drop it if there are too many links."""
        link = self._links.get(node_id) or self._open(node_id)
        if link is None:
            return
        if not link.outbox:  # an earlier message in the outbox has already marked the link as busy
            self._links.busy_ids[node_id] = None
        link.outbox.append(mail)
        (self._owing if type(mail) is Ack else self._dirty)[node_id] = None

    def _open(self, node_id: str) -> Link | None:
        link = self._links.open(node_id, clock())
        if link is None:
            self._counts.hit(Limit.LINKS)
            self._too_many.again(uid=node_id)
        return link

    def flowing(self, node_id: str) -> bool:
        """Return whether a message to this node would leave with the next `flush`."""
        link = self._links.get(node_id)
        return self._may_publish() and (link is None or not link.full)

    def _may_publish(self) -> bool:
        return self._publishing.open and self._lease.standing

    def flush(self) -> None:
        """Publish the queued messages if that is possible now; otherwise keep them."""
        if not self._dirty and not self._owing:
            return
        now = clocks.lease()
        if self._owing:
            self._pay(now)
        if not self._dirty:
            return
        if not (self._publishing.open and self._lease.standing):
            self._publishing.held_up = True
            return
        dirty, self._dirty = self._dirty, {}  # a link sends its queued messages once it receives an ack
        if self._gather:
            self._hold_back(dirty, now)
        frames: list[tuple[str, bytes]] = []
        for node_id in dirty:  # loops, because a comprehension is a call on Python 3.11
            if (link := self._links.get(node_id)) is not None:
                for frame in link.flush(now):
                    frames.append((node_id, frame))
        if frames:
            self._publish(frames)

    def _pay(self, now: float) -> None:
        """Mark acknowledgements as ready to leave, except for nodes to which a frame left a moment ago."""
        owing, self._owing = self._owing, {}
        for node_id in owing:
            link = self._links.get(node_id)
            if link is None or node_id in self._dirty or now - link.flushed >= ACK_PAUSE_SECONDS:
                self._dirty[node_id] = None
            else:
                self._owing[node_id] = None
        if self._owing:
            self._rest(ACK_PAUSE_SECONDS)

    def _hold_back(self, dirty: dict[str, None], now: float) -> None:
        """Take nodes out to which a frame left a moment ago: messages for them gather until the pause is over."""
        due = now
        for node_id in list(dirty):
            link = self._links.get(node_id)
            if link is not None and now - link.flushed < self._gather:
                del dirty[node_id]
                self._dirty[node_id] = None
                due = max(due, link.flushed + self._gather)
        if self._dirty:
            self._rest(due - now)

    def _rest(self, seconds: float) -> None:
        if not self._resting:
            self._resting = True
            asyncio.get_running_loop().call_later(seconds, self._rested)

    def _rested(self) -> None:
        """Have what waited leave at the end of a tick, if anything is due. Mostly it has left with other messages."""
        self._resting = False
        if self._owing:
            self._pay(clocks.lease())  # after another frame they wait on: a tenth of all ticks would find nothing to do
        if self._dirty:
            self._delegate.open_tick()

    def tell(self, node_id: str, kind: Kind, number: int = 0) -> None:
        """Send one node a control message."""
        self._publishing.tell(node_id, kind, number)

    def announce(self, kind: Kind, number: int = 0) -> bool:
        """Send all nodes a control message. Return False if that isn't possible now."""
        return self._publishing.announce(kind, number)

    def forget(self, node_id: str) -> None:
        """Drop the link with a dead node, and the messages under way to it."""
        self._links.forget(node_id)
        self._publishing.forget(node_id)

    def doubtful(self) -> list[str]:
        """Return silent nodes whose leases the caller must check. It must then call `judge` with the result."""
        return self._links.doubtful(clock())

    def judge(self, node_ids: Iterable[str], absent: set[str]) -> list[str]:
        """Forget and return the nodes that have had no lease for long enough. `absent` has those without one now."""
        gone = self._links.judge(node_ids, absent, clock())
        for node_id in gone:
            self._publishing.forget(node_id)
        return gone

    def has_room(self) -> None:
        """Let the messages that waited for the publisher leave at the end of this tick."""
        self._delegate.open_tick()

    # --- receiving

    def received(self, frame: Frame) -> None:
        """Handle a frame: the hub gets control frames, and the sender's link the others while the lease holds."""
        if frame.kind is not MAIL and frame.kind > MISSING:
            self._delegate.heed(frame)
            return
        if not self._lease.standing:
            return
        link = self._links.get(frame.node_id) or self._open(frame.node_id)
        if link is None:
            return
        if (frame.kind is not MAIL or frame.stream != link.their_stream) and link.lost(frame):
            self._delegate.peer_forgot_us(frame.node_id)
        link.heard = now = clocks.lease()
        wanted, replies = link.take(frame, now)
        self._links.busy_ids[frame.node_id] = None
        if replies:
            self._publish([(frame.node_id, reply) for reply in replies])
        if link.fair_queue.heap and frame.node_id not in self._owing:  # the acknowledgement may have made room
            self._dirty[frame.node_id] = None
            self._delegate.open_tick()
        if wanted:
            try:
                mail = decode(frame.body)
            except UNREADABLE as error:
                self._unreadable.again(uid=frame.node_id, error=str(error))
                return
            self._delegate.receive(mail)

    def echoed(self, number: int) -> None:
        """Note that a probe came back."""
        self._echo_probe.echo(number)

    # --- recovery from losses

    def connected(self) -> None:
        """Have the lease find out whether the new connection leads to another server than before."""
        self._lease.reconnected()

    def doubt(self) -> None:
        """Handle a failure: only probes that are sent from now on count."""
        self._echo_probe.doubt()

    def subscribed(self) -> None:
        """Ask all other nodes to send again, and count only probes that are sent from now on."""
        self._echo_probe.anew()
        self.ask()

    def publishing_anew(self) -> None:
        """Send everything that is under way again, and count only probes that are sent from now on."""
        self._echo_probe.anew()
        self._send_again(node_id for node_id, _ in self._links.busy())

    def rerouted(self, node_ids: Sequence[str], *, own: bool) -> None:
        """Handle new routes: request what was lost on the way here, and resend what was under way to the nodes."""
        if own:
            self._echo_probe.anew()
        self._publish(
            [
                (node_id, link.request_retransmit())
                for node_id in node_ids
                if (link := self._links.get(node_id)) is not None
            ]
        )
        self._send_again(node_ids)

    def ask(self) -> None:
        """Ask all other nodes to retransmit what this one may have missed, and publish the messages that waited."""
        self._publish([(node_id, link.request_retransmit()) for node_id, link in self._links.items()])
        self._dirty.update((node_id, None) for node_id, _ in self._links.busy())
        self._delegate.open_tick()

    def _send_again(self, node_ids: Iterable[str]) -> None:
        now = clock()
        links = [(node_id, link) for node_id in node_ids if (link := self._links.get(node_id)) is not None]
        if self._lease.standing:
            self._publish([(node_id, frame) for node_id, link in links for frame in link.retransmit(now)])
        self._dirty.update((node_id, None) for node_id, _ in links)
        self._delegate.open_tick()

    # --- tasks

    async def run(self) -> None:
        """Keep up both connections and run the timers until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._publishing.run)
            tasks.start_soon(self._subscription.run)
            tasks.start_soon(self._echo_probe.run)
            tasks.start_soon(self._tick)
            tasks.start_soon(follow, self._redis_client, self._connections)

    def _connections(self) -> list[RespConnection]:
        receiver = self._subscription.connection
        return [*([] if receiver is None else [receiver]), *self._publishing.connections]

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(TICK_SECONDS)
            if self._may_publish():
                now = clock()
                self._publish([(node_id, frame) for node_id, link in self._links.busy() for frame in link.tick(now)])
