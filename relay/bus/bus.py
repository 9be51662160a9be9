"""Mail to and from other nodes over pub/sub: one inbox channel a node, all mail of a turn in one PUBLISH a node.

Links (`link`) make up for what pub/sub loses. Whenever one of the node's two connections (`publisher`,
`relay.bus.subscriber`) is made anew, what may have been lost is sent, or asked for, again. Nothing is published, and no
mail taken, while the lease doesn't stand.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

import anyio

from relay.bus.delegates import BusDelegate, NodeLease
from relay.bus.echo_probe import EchoProbe
from relay.bus.link import MAIL, MISSING, Frame, Kind, Link
from relay.bus.link_table import LinkTable
from relay.bus.publisher import Publisher
from relay.bus.reconnect import follow
from relay.bus.subscriber import Subscriber
from relay.clock import clock
from relay.logs import Spell
from relay.metrics import Counts, Limit
from relay.redis_client.client import RedisClient
from relay.redis_client.connection import RespConnection
from relay.redis_client.keys import Keys
from relay.session.peer_messages import Ack, BadMail, Mail, decode

# Mail that only acknowledges follows the last frame to its node after this, or goes with the next one before. At 5,000
# messages a second it would make as many PUBLISHes as they do. In an idle system it leaves at once.
ACK_PAUSE_SECONDS: Final = 0.001
# How often links look at their timers.
TICK_SECONDS: Final = 0.05


class Bus:
    """The mail service of one node, which hands what comes to its `delegate`."""

    def __init__(
        self,
        store: RedisClient,
        keys: Keys,
        node_id: str,
        delegate: BusDelegate,
        *,
        lease: NodeLease,
        counts: Counts | None = None,
    ) -> None:
        self._store = store
        self._lease = lease
        self._delegate = delegate
        self._counts = counts or Counts()
        self._links = LinkTable(node_id, self._counts, lease.seconds)
        self._too_many = Spell("mail from a node too many")
        self._unreadable = Spell("unreadable mail")
        self._dirty: set[str] = set()
        self._owing: set[str] = set()  # nodes for which there is nothing but acknowledgements
        self._resting = False  # a timer will look after those
        self._publishing = Publisher(store, keys, node_id, counts=self._counts, delegate=self)
        self._subscription = Subscriber(store, keys, node_id, delegate=self)
        self._echo_probe = EchoProbe(self._publishing, self._subscription, self._counts)
        self._publish = self._publishing.publish

    @property
    def ready(self) -> anyio.Event:
        """The node has subscribed, and been able to publish, for the first time."""
        return self._echo_probe.ready

    @property
    def hearing(self) -> bool:
        """Whether the node has heard its own probe lately, and since the last failure."""
        return self._echo_probe.hearing

    @property
    def publishing(self) -> bool:
        """Whether what is published is answered, and not refused."""
        return self._publishing.well

    @property
    def address(self) -> str:
        """The server on which this node's own probes go."""
        return self._publishing.address

    @property
    def links(self) -> int:
        """Other nodes that this one remembers."""
        return len(self._links)

    @property
    def silent(self) -> int:
        """Servers at which nothing can be published now."""
        return self._publishing.silent

    @property
    def trouble(self) -> str:
        """Why this node can't talk to others, for operators; empty if it can."""
        return self._echo_probe.trouble

    @property
    def quiet(self) -> bool:
        """Every node has acknowledged everything."""
        return not self.waiting()

    def waiting(self) -> set[str]:
        """The nodes that have not acknowledged everything."""
        return {node_id for node_id, link in self._links.busy() if link.waiting or link.under_way}

    # --- sending

    def post(self, node_id: str, mail: Mail) -> None:
        """Put mail into the box for a node; it leaves with `flush`."""
        link = self._links.get(node_id) or self._open(node_id)
        if link is None:
            return
        if not link.outbox:  # else that was done with the mail before
            self._links.touch(node_id)
        link.outbox.append(mail)
        (self._owing if type(mail) is Ack else self._dirty).add(node_id)

    def _open(self, node_id: str) -> Link | None:
        link = self._links.open(node_id, clock())
        if link is None:
            self._counts.hit(Limit.LINKS)
            self._too_many.again(uid=node_id)
        return link

    def flowing(self, node_id: str) -> bool:
        """Whether mail to this node would leave with the next `flush`."""
        link = self._links.get(node_id)
        return self._may_publish() and (link is None or not link.full)

    def _may_publish(self) -> bool:
        return self._publishing.open and self._lease.standing

    def flush(self) -> None:
        """Publish what has gathered, if that is possible now; otherwise it keeps gathering."""
        if not self._dirty and not self._owing:
            return
        now = clock()
        if self._owing:
            self._pay(now)
        if not self._dirty:
            return
        if not (self._publishing.open and self._lease.standing):
            self._publishing.held_up = True
            return
        dirty, self._dirty = self._dirty, set()  # what a link keeps back leaves when it hears an acknowledgement
        get = self._links.get
        self._publish(
            [(node_id, frame) for node_id in dirty if (link := get(node_id)) is not None for frame in link.flush(now)]
        )

    def _pay(self, now: float) -> None:
        """Let acknowledgements leave, unless a frame has left for their node just before."""
        owing, self._owing = self._owing, set()
        for node_id in owing:
            link = self._links.get(node_id)
            if link is None or node_id in self._dirty or now - link.flushed >= ACK_PAUSE_SECONDS:
                self._dirty.add(node_id)
            else:
                self._owing.add(node_id)
        if self._owing and not self._resting:
            self._resting = True
            asyncio.get_running_loop().call_later(ACK_PAUSE_SECONDS, self._rested)

    def _rested(self) -> None:
        self._resting = False
        self._delegate.open_tick()

    def tell(self, node_id: str, kind: Kind, number: int = 0) -> None:
        """Tell one node something that isn't mail."""
        self._publishing.tell(node_id, kind, number)

    def announce(self, kind: Kind, number: int = 0) -> bool:
        """Tell every node; False if that isn't possible now."""
        return self._publishing.announce(kind, number)

    def forget(self, node_id: str) -> None:
        """That node is dead: what was under way to it will never arrive."""
        self._links.forget(node_id)
        self._publishing.forget(node_id)

    def doubtful(self) -> list[str]:
        """Nodes that have been silent: whether their leases hold is to be looked at. `judge` has to follow."""
        return self._links.doubtful(clock())

    def judge(self, node_ids: Iterable[str], absent: set[str]) -> list[str]:
        """Forget, and return, those that have had no lease for long enough; `absent`: those without one now."""
        gone = self._links.judge(node_ids, absent, clock())
        for node_id in gone:
            self._publishing.forget(node_id)
        return gone

    def has_room(self) -> None:
        """See `ConnectionDelegate`."""
        self._delegate.open_tick()

    # --- receiving

    def received(self, frame: Frame) -> None:
        """See `ConnectionDelegate`."""
        if frame.kind is not MAIL and frame.kind > MISSING:
            self._delegate.heed(frame)
        elif self._lease.standing:
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        link = self._links.get(frame.node_id) or self._open(frame.node_id)
        if link is None:
            return
        if link.lost(frame):
            self._delegate.forgot(frame.node_id)
        link.heard = now = clock()
        wanted, replies = link.take(frame, now)
        self._links.touch(frame.node_id)
        if replies:
            self._publish([(frame.node_id, reply) for reply in replies])
        if link.waiting and frame.node_id not in self._owing:
            self._dirty.add(frame.node_id)
            self._delegate.open_tick()
        if wanted:
            try:
                mail = decode(frame.body)
            except BadMail as error:
                self._unreadable.again(uid=frame.node_id, error=str(error))
                return
            self._delegate.receive(mail)

    def echoed(self, number: int) -> None:
        """See `ConnectionDelegate`."""
        self._echo_probe.echo(number)

    # --- what may have been lost

    def connected(self) -> None:
        """See `ConnectionDelegate`."""
        self._lease.reconnected()

    def doubt(self) -> None:
        """See `ConnectionDelegate`."""
        self._echo_probe.doubt()

    def subscribed(self) -> None:
        """See `ConnectionDelegate`."""
        self._echo_probe.anew()
        self.ask()

    def publishing_anew(self) -> None:
        """See `ConnectionDelegate`."""
        self._echo_probe.anew()
        self._send_again(node_id for node_id, _ in self._links.busy())

    def rerouted(self, node_ids: set[str], *, own: bool) -> None:
        """See `ConnectionDelegate`."""
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
        """Have every counterpart send again what we may have missed, and publish what had to wait."""
        self._publish([(node_id, link.request_retransmit()) for node_id, link in self._links.items()])
        self._dirty.update(node_id for node_id, _ in self._links.busy())
        self._delegate.open_tick()

    def _send_again(self, node_ids: Iterable[str]) -> None:
        now = clock()
        links = [(node_id, link) for node_id in node_ids if (link := self._links.get(node_id)) is not None]
        if self._lease.standing:
            self._publish([(node_id, frame) for node_id, link in links for frame in link.retransmit(now)])
        self._dirty.update(node_id for node_id, _ in links)
        self._delegate.open_tick()

    # --- life

    async def run(self) -> None:
        """Keep both connections and the timers going, for ever."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._publishing.run)
            tasks.start_soon(self._subscription.run)
            tasks.start_soon(self._echo_probe.run)
            tasks.start_soon(self._tick)
            tasks.start_soon(follow, self._store, self._connections)

    def _connections(self) -> list[RespConnection]:
        receiver = self._subscription.connection
        return [*([] if receiver is None else [receiver]), *self._publishing.connections]

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(TICK_SECONDS)
            if self._may_publish():
                now = clock()
                self._publish([(node_id, frame) for node_id, link in self._links.busy() for frame in link.tick(now)])
