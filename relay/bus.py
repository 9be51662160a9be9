"""Mail to and from other nodes over pub/sub: one inbox channel a node, all mail of a turn in one PUBLISH a node.

Links (`relay.link`) make up for what pub/sub loses. A node that doesn't hear its own probe is deaf: it subscribes anew
and asks every counterpart to send again. Nothing is published, and no mail taken, while the lease doesn't stand.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import structlog

from relay.directory.keys import Keys
from relay.directory.lease import clock
from relay.directory.store import Store, Unavailable
from relay.fan import Fan
from relay.link import MAIL, MISSING, UID_LENGTH, BadFrame, Frame, Kind, Link, note, unpack
from relay.mail import Ack, BadMail, Mail, decode
from relay.metrics import Counts, Limit
from relay.publisher import Publisher
from relay.resp import RespConnection, next_pause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio.connection import Connection

# PUBLISH commands without a reply; what comes meanwhile gathers and makes the next ones larger (measured best: 8).
UNDER_WAY: Final = 8
# Mail that only acknowledges follows the last frame to its node after this, or goes with the next one before. At 5,000
# messages a second it would make as many PUBLISHes as they do. In an idle system it leaves at once.
ACK_PAUSE_SECONDS: Final = 0.001
# How often a node listens for its own voice, and for how long it may miss it.
PROBE_SECONDS: Final = 0.5
DEAF_SECONDS: Final = 1.2
# How often a node makes sure that it isn't at a server whose place another one has taken.
LOOK_SECONDS: Final = 1.0
# How often links look at their timers.
TICK_SECONDS: Final = 0.05
# One of so many failed tries is worth a line in the log: every ten seconds or so.
SAY_EVERY: Final = 10
# Nodes that one node has links with. Far above any cluster; bounds what garbage on the channel can cost.
LINKS: Final = 4096

_Taken = TypeVar("_Taken", bound=RespConnection)

log = structlog.get_logger()


class Bus:
    """The mail service of one node.

    `standing()`: whether the node's lease holds. `room()`: what gathered may be flushed now. `deliver(mail)`: mail that
    came, in order. `reset(uid)`: that node had forgotten us, what was under way to it is lost. `notice(frame)`: a frame
    that isn't mail. `connected()`: a connection to Redis was made.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        uid: str,
        *,
        standing: Callable[[], bool],
        room: Callable[[], None],
        deliver: Callable[[list[Mail]], None],
        reset: Callable[[str], None],
        notice: Callable[[Frame], None],
        connected: Callable[[], None],
        counts: Counts | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._uid = uid
        self._standing = standing
        self._room = room
        self._deliver = deliver
        self._reset = reset
        self._notice = notice
        self._connected = connected
        self._counts = counts or Counts()
        self._links: dict[str, Link] = {}
        self._dirty: set[str] = set()
        self._owing: set[str] = set()  # nodes for which there is nothing but acknowledgements
        self._resting = False  # a timer will look after those
        self._publisher: Publisher | Fan | None = None
        self._subscriber: RespConnection | None = None
        self._under_way = 0
        self._answered = False  # the publisher's connection has served
        self._heard = float("-inf")
        self._probed = 0.0  # when the probe left whose echo is waited for
        self._receiver: RespConnection | None = None  # the subscriber, confirmed or not
        self._missing: set[bytes] = set()  # channels without a confirmation
        self._confirmed = anyio.Event()  # or refused
        self.ready = anyio.Event()  # subscribed and able to publish for the first time

    @property
    def hearing(self) -> bool:
        """Whether the node has heard its own probe lately."""
        return clock() - self._heard < DEAF_SECONDS

    @property
    def quiet(self) -> bool:
        """Every node has acknowledged everything."""
        return not self.waiting()

    def waiting(self) -> set[str]:
        """The nodes that have not acknowledged everything."""
        return {uid for uid, link in self._links.items() if link.waiting or link.under_way}

    # --- sending

    def post(self, uid: str, mail: Mail) -> None:
        """Put mail into the box for a node; it leaves with `flush`."""
        link = self._links.get(uid)
        if link is None:
            link = self._links[uid] = Link(self._uid, self._counts)
        link.outbox.append(mail)
        (self._owing if type(mail) is Ack else self._dirty).add(uid)

    def flowing(self, uid: str) -> bool:
        """Whether mail to this node would leave with the next `flush`."""
        link = self._links.get(uid)
        may_publish = self._publisher is not None and self._under_way < UNDER_WAY and self._standing()
        return may_publish and (link is None or not link.full)

    def flush(self) -> None:
        """Publish what has gathered, if that is possible now; otherwise it keeps gathering."""
        if not self._dirty and not self._owing:
            return
        now = clock()
        if self._owing:
            self._pay(now)
        if not self._dirty or self._publisher is None or self._under_way >= UNDER_WAY or not self._standing():
            return
        dirty, self._dirty = self._dirty, set()  # what a link keeps back leaves when it hears an acknowledgement
        self._publish([(uid, frame) for uid in dirty if uid in self._links for frame in self._links[uid].flush(now)])

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
        self._room()

    def _publish(self, frames: list[tuple[str, bytes]]) -> None:
        if frames and self._publisher is not None:
            inbox = self._keys.inbox
            self._under_way += len(frames)
            self._publisher.send(*(("PUBLISH", inbox(uid), frame) for uid, frame in frames))

    def announce(self, kind: Kind, number: int = 0) -> bool:
        """Tell every node; False if that isn't possible now."""
        if self._publisher is None:
            return False
        self._under_way += 1
        self._publisher.send(("PUBLISH", self._keys.everyone, note(kind, self._uid, number)))
        return True

    def tell(self, uid: str, kind: Kind, number: int = 0) -> None:
        """Tell one node something that isn't mail."""
        self._publish([(uid, note(kind, self._uid, number))])

    def forget(self, uid: str) -> None:
        """That node is dead: what was under way to it will never arrive."""
        self._links.pop(uid, None)

    def _published(self, reply: Any, count: int = 1) -> None:
        self._under_way -= count
        if isinstance(reply, Exception):
            log.error("publish refused", error=str(reply))
        else:
            self._answered = True
        if self._dirty:
            self._room()

    # --- receiving

    def _pushed(self, push: Any) -> None:
        if not isinstance(push, list) or len(push) != 3:
            log.error("unexpected reply to subscribe", reply=str(push))
            self._refused()
        elif push[0] == b"message" or push[0] == b"smessage":
            try:
                frame = unpack(push[2])
            except BadFrame as error:
                log.warning("bad frame on the bus", error=str(error))
                return
            self._received(frame)
        elif push[0] == b"sunsubscribe":  # the slot of our inbox has moved
            self._refused()
        else:
            self._missing.discard(push[1])
            if not self._missing:
                self._confirmed.set()

    def _refused(self) -> None:
        """The server doesn't serve our inbox, or not any more."""
        if self._receiver is not None:
            self._receiver.abort()
        self._confirmed.set()

    def _received(self, frame: Frame) -> None:
        if frame.uid == self._uid:
            if frame.kind is Kind.PROBE:
                self._heard = clock()
                if self._probed:
                    self._counts.echo.observe(self._heard - self._probed)
                    self._probed = 0.0
                self.ready.set()
        elif frame.kind is not MAIL and frame.kind > MISSING:
            self._notice(frame)
        elif self._standing():
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        link = self._links.get(frame.uid)
        if link is None:
            if len(self._links) >= LINKS or len(frame.uid) != UID_LENGTH:
                self._counts.hit(Limit.LINKS)
                log.warning("mail from a node too many", uid=frame.uid)
                return
            link = self._links[frame.uid] = Link(self._uid, self._counts)
        if link.lost(frame):
            self._reset(frame.uid)
        wanted, replies = link.take(frame, clock())
        if replies:
            self._publish([(frame.uid, reply) for reply in replies])
        if link.waiting and frame.uid not in self._owing:
            self._dirty.add(frame.uid)
            self._room()
        if wanted:
            try:
                mail = decode(frame.body)
            except BadMail as error:
                log.warning("unreadable mail", uid=frame.uid, error=str(error))
                return
            self._deliver(mail)

    # --- connections

    async def run(self) -> None:
        """Keep both connections and the timers going, for ever."""
        async with anyio.create_task_group() as tasks:
            if self._store.sharded:
                tasks.start_soon(self._fanning)
            else:
                tasks.start_soon(self._keep, self._publishing, "publisher")
                tasks.start_soon(self._follow)
            tasks.start_soon(self._keep, self._subscribing, "subscriber")
            tasks.start_soon(self._probe)
            tasks.start_soon(self._tick)

    async def _keep(self, session: Callable[[], Awaitable[bool]], role: str) -> None:
        """`session` says whether its connection served, if only for a moment."""
        pause, failed = 0.0, 0
        while True:
            try:
                served = await session()
                failed = 0
                log.warning("bus connection lost", role=role)
            except Unavailable as error:
                served = False
                failed += 1
                say = log.debug if failed % SAY_EVERY else log.warning
                say("bus connection not made", role=role, error=str(error))
            pause = next_pause(pause, served)
            await anyio.sleep(pause)

    @asynccontextmanager
    async def _connection(self, take_over: "Callable[[Connection], _Taken]") -> "AsyncIterator[_Taken]":
        home = self._store.home(self._keys.inbox(self._uid))
        connection = take_over(await self._store.connect(home))
        try:
            yield connection
        finally:
            with anyio.CancelScope(shield=True):
                await connection.aclose()

    async def _publishing(self) -> bool:
        self._under_way = 0
        self._answered = False
        probe = ("PUBLISH", self._keys.inbox(self._uid), note(Kind.PROBE, self._uid))
        async with self._connection(partial(Publisher, answered=self._published, trial=probe)) as self._publisher:
            try:
                self._connected()
                self._send_again(self._links)
                await self._publisher.lost.wait()
            finally:
                self._publisher = None
        return self._answered

    async def _fanning(self) -> None:
        self._publisher = Fan(
            self._store,
            self._keys.everyone,
            answered=self._published,
            unanswered=self._unanswered,
            again=self._rerouted,
            connected=self._connected,
        )
        await self._publisher.run()

    def _unanswered(self, count: int) -> None:
        self._under_way -= count

    def _rerouted(self, inboxes: Iterable[str]) -> None:
        """The way to these nodes was made anew: what was under way may be lost, in both directions."""
        uids = {inbox.rpartition(":")[2] for inbox in inboxes}
        if self._uid in uids:
            self.tell(self._uid, Kind.PROBE)
        uids &= self._links.keys()
        self._publish([(uid, self._links[uid].ask()) for uid in uids])
        self._send_again(uids)

    async def _subscribing(self) -> bool:
        with suppress(Unavailable):
            await self._store.look()  # it may be another server that serves our inbox now
        async with self._connection(partial(RespConnection, on_reply=self._pushed)) as connection:
            self._receiver = connection
            self._confirmed = anyio.Event()
            inbox, everyone = self._keys.inbox(self._uid), self._keys.everyone
            self._missing = {inbox.encode(), everyone.encode()}
            connection.send(("SSUBSCRIBE" if self._store.sharded else "SUBSCRIBE", inbox), ("SUBSCRIBE", everyone))
            with anyio.move_on_after(DEAF_SECONDS):
                await self._confirmed.wait()
            if self._missing:
                return False
            self._heard = clock()
            self.tell(self._uid, Kind.PROBE)
            self._subscriber = connection
            try:
                self.ask()
                await connection.lost.wait()
            finally:
                self._subscriber = None
        return True

    def _send_again(self, uids: Iterable[str]) -> None:
        now = clock()
        if self._standing():
            self._publish([(uid, frame) for uid in uids for frame in self._links[uid].again(now)])
        self._dirty.update(uids)
        self._room()

    def ask(self) -> None:
        """Have every counterpart send again what we may have missed, and publish what had to wait."""
        self._publish([(uid, link.ask()) for uid, link in self._links.items()])
        self._dirty.update(self._links)
        self._room()

    async def _probe(self) -> None:
        while True:
            self._probed = clock()
            self.tell(self._uid, Kind.PROBE)
            await anyio.sleep(PROBE_SECONDS)
            if self._subscriber is not None and not self.hearing:
                self._counts.deaf += 1
                log.warning("deaf: subscribing anew")
                for connection in (self._subscriber, self._publisher):
                    if connection is not None:
                        connection.abort()

    async def _follow(self) -> None:
        """Leave a server whose place another one has taken, also where it goes on serving: others aren't there."""
        while True:
            await anyio.sleep(LOOK_SECONDS)
            with suppress(Unavailable):
                await self._store.look()
            for connection in (self._subscriber, self._publisher):
                if isinstance(connection, RespConnection) and not self._store.current(connection.origin):
                    log.warning("another server took this one's place: connecting there")
                    connection.abort()

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(TICK_SECONDS)
            now = clock()
            if self._standing() and self._publisher is not None and self._under_way < UNDER_WAY:
                self._publish([(uid, frame) for uid, link in self._links.items() for frame in link.tick(now)])
