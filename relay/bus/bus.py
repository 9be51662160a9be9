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
        uid: str,
        delegate: BusDelegate,
        *,
        lease: NodeLease,
        counts: Counts | None = None,
    ) -> None:
        self._store = store
        self._lease = lease
        self._delegate = delegate
        self._counts = counts or Counts()
        self._links = LinkTable(uid, self._counts, lease.seconds)
        self._too_many = Spell("mail from a node too many")
        self._unreadable = Spell("unreadable mail")
        self._dirty: set[str] = set()
        self._owing: set[str] = set()  # nodes for which there is nothing but acknowledgements
        self._resting = False  # a timer will look after those
        self._publishing = Publisher(store, keys, uid, counts=self._counts, delegate=self)
        self._subscription = Subscriber(store, keys, uid, delegate=self)
        self._voice = EchoProbe(self._publishing, self._subscription, self._counts)
        self._publish = self._publishing.publish

    @property
    def ready(self) -> anyio.Event:
        """The node has subscribed, and been able to publish, for the first time."""
        return self._voice.ready

    @property
    def hearing(self) -> bool:
        """Whether the node has heard its own probe lately, and since the last failure."""
        return self._voice.hearing

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
        return self._voice.trouble

    @property
    def quiet(self) -> bool:
        """Every node has acknowledged everything."""
        return not self.waiting()

    def waiting(self) -> set[str]:
        """The nodes that have not acknowledged everything."""
        return {uid for uid, link in self._links.busy() if link.waiting or link.under_way}

    # --- sending

    def post(self, uid: str, mail: Mail) -> None:
        """Put mail into the box for a node; it leaves with `flush`."""
        link = self._links.get(uid) or self._open(uid)
        if link is None:
            return
        if not link.outbox:  # else that was done with the mail before
            self._links.touch(uid)
        link.outbox.append(mail)
        (self._owing if type(mail) is Ack else self._dirty).add(uid)

    def _open(self, uid: str) -> Link | None:
        link = self._links.open(uid, clock())
        if link is None:
            self._counts.hit(Limit.LINKS)
            self._too_many.again(uid=uid)
        return link

    def flowing(self, uid: str) -> bool:
        """Whether mail to this node would leave with the next `flush`."""
        link = self._links.get(uid)
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
        self._publish([(uid, frame) for uid in dirty if (link := get(uid)) is not None for frame in link.flush(now)])

    def _pay(self, now: float) -> None:
        """Let acknowledgements leave, unless a frame has left for their node just before."""
        owing, self._owing = self._owing, set()
        for uid in owing:
            link = self._links.get(uid)
            if link is None or uid in self._dirty or now - link.flushed >= ACK_PAUSE_SECONDS:
                self._dirty.add(uid)
            else:
                self._owing.add(uid)
        if self._owing and not self._resting:
            self._resting = True
            asyncio.get_running_loop().call_later(ACK_PAUSE_SECONDS, self._rested)

    def _rested(self) -> None:
        self._resting = False
        self._delegate.begin()

    def tell(self, uid: str, kind: Kind, number: int = 0) -> None:
        """Tell one node something that isn't mail."""
        self._publishing.tell(uid, kind, number)

    def announce(self, kind: Kind, number: int = 0) -> bool:
        """Tell every node; False if that isn't possible now."""
        return self._publishing.announce(kind, number)

    def forget(self, uid: str) -> None:
        """That node is dead: what was under way to it will never arrive."""
        self._links.forget(uid)
        self._publishing.forget(uid)

    def doubtful(self) -> list[str]:
        """Nodes that have been silent: whether their leases hold is to be looked at. `judge` has to follow."""
        return self._links.doubtful(clock())

    def judge(self, uids: Iterable[str], absent: set[str]) -> list[str]:
        """Forget, and return, those that have had no lease for long enough; `absent`: those without one now."""
        gone = self._links.judge(uids, absent, clock())
        for uid in gone:
            self._publishing.forget(uid)
        return gone

    def has_room(self) -> None:
        """See `ConnectionDelegate`."""
        self._delegate.begin()

    # --- receiving

    def received(self, frame: Frame) -> None:
        """See `ConnectionDelegate`."""
        if frame.kind is not MAIL and frame.kind > MISSING:
            self._delegate.heed(frame)
        elif self._lease.standing:
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        link = self._links.get(frame.uid) or self._open(frame.uid)
        if link is None:
            return
        if link.lost(frame):
            self._delegate.forgot(frame.uid)
        link.heard = now = clock()
        wanted, replies = link.take(frame, now)
        self._links.touch(frame.uid)
        if replies:
            self._publish([(frame.uid, reply) for reply in replies])
        if link.waiting and frame.uid not in self._owing:
            self._dirty.add(frame.uid)
            self._delegate.begin()
        if wanted:
            try:
                mail = decode(frame.body)
            except BadMail as error:
                self._unreadable.again(uid=frame.uid, error=str(error))
                return
            self._delegate.receive(mail)

    def echoed(self, number: int) -> None:
        """See `ConnectionDelegate`."""
        self._voice.echo(number)

    # --- what may have been lost

    def connected(self) -> None:
        """See `ConnectionDelegate`."""
        self._lease.reconnected()

    def doubt(self) -> None:
        """See `ConnectionDelegate`."""
        self._voice.doubt()

    def subscribed(self) -> None:
        """See `ConnectionDelegate`."""
        self._voice.anew()
        self.ask()

    def publishing_anew(self) -> None:
        """See `ConnectionDelegate`."""
        self._voice.anew()
        self._send_again(uid for uid, _ in self._links.busy())

    def rerouted(self, uids: set[str], *, own: bool) -> None:
        """See `ConnectionDelegate`."""
        if own:
            self._voice.anew()
        self._publish([(uid, link.ask()) for uid in uids if (link := self._links.get(uid)) is not None])
        self._send_again(uids)

    def ask(self) -> None:
        """Have every counterpart send again what we may have missed, and publish what had to wait."""
        self._publish([(uid, link.ask()) for uid, link in self._links.items()])
        self._dirty.update(uid for uid, _ in self._links.busy())
        self._delegate.begin()

    def _send_again(self, uids: Iterable[str]) -> None:
        now = clock()
        links = [(uid, link) for uid in uids if (link := self._links.get(uid)) is not None]
        if self._lease.standing:
            self._publish([(uid, frame) for uid, link in links for frame in link.again(now)])
        self._dirty.update(uid for uid, _ in links)
        self._delegate.begin()

    # --- life

    async def run(self) -> None:
        """Keep both connections and the timers going, for ever."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._publishing.run)
            tasks.start_soon(self._subscription.run)
            tasks.start_soon(self._voice.run)
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
                self._publish([(uid, frame) for uid, link in self._links.busy() for frame in link.tick(now)])
