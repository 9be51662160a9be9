"""The end of the bus on which frames come: a node's subscription, and how the node knows that it hears.

It publishes to itself. Where that probe doesn't come back the node is deaf, however alive the connection looks.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import anyio
import structlog

from relay.directory.lease import clock
from relay.link import BadFrame, Frame, Kind, unpack
from relay.metrics import Counts
from relay.redis_client.client import Store, Unavailable
from relay.redis_client.connection import RespConnection
from relay.redis_client.keys import Keys
from relay.redis_client.reconnect import connected, keep

# How often a node listens for its own voice, and for how long it may miss it.
PROBE_SECONDS: Final = 0.5
DEAF_SECONDS: Final = 1.2

log = structlog.get_logger()


class Subscription:
    """Hears the node's inbox and what is for everyone.

    `received(frame)`: a frame from another node. `probe()`: publish the own probe. `hears()`: the subscription is there
    anew. `deaf()`: it isn't what it seems, and the connection that publishes may not be either.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        uid: str,
        counts: Counts,
        *,
        received: Callable[[Frame], None],
        probe: Callable[[], None],
        hears: Callable[[], None],
        deaf: Callable[[], None],
    ) -> None:
        self._store = store
        self._uid = uid
        self._inbox, self._everyone = keys.inbox(uid), keys.everyone
        self._counts = counts
        self._received = received
        self._probe = probe
        self._hears = hears
        self._deaf = deaf
        self.connection: RespConnection | None = None  # once it is confirmed
        self._receiver: RespConnection | None = None  # confirmed or not
        self._missing: set[bytes] = set()  # channels without a confirmation
        self._confirmed = anyio.Event()  # or refused
        self._heard = float("-inf")
        self._probed = 0.0  # when the probe left whose echo is waited for
        self.ready = anyio.Event()  # the node has heard itself for the first time

    @property
    def hearing(self) -> bool:
        """Whether the node has heard its own probe lately."""
        return clock() - self._heard < DEAF_SECONDS

    async def run(self) -> None:
        """Keep the subscription, for ever, and make sure that it hears."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep, self._session, "subscriber")
            tasks.start_soon(self._listen)

    async def _session(self) -> bool:
        with suppress(Unavailable):
            await self._store.look()  # it may be another server that serves our inbox now
        take_over = partial(RespConnection, on_reply=self._pushed)
        async with connected(self._store, self._inbox, take_over) as self._receiver:
            self._confirmed = anyio.Event()
            self._missing = {self._inbox.encode(), self._everyone.encode()}
            subscribe = "SSUBSCRIBE" if self._store.sharded else "SUBSCRIBE"
            self._receiver.send((subscribe, self._inbox), ("SUBSCRIBE", self._everyone))
            with anyio.move_on_after(DEAF_SECONDS):
                await self._confirmed.wait()
            if self._missing:
                return False
            self._heard = clock()
            self._probe()
            self.connection = self._receiver
            try:
                self._hears()
                await self.connection.lost.wait()
            finally:
                self.connection = None
        return True

    async def _listen(self) -> None:
        while True:
            self._probed = clock()
            self._probe()
            await anyio.sleep(PROBE_SECONDS)
            if self.connection is not None and not self.hearing:
                self._counts.deaf += 1
                log.warning("deaf: subscribing anew")
                self.connection.abort()
                self._deaf()

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
            if frame.uid == self._uid:
                self._heard_ourselves(frame)
            else:
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

    def _heard_ourselves(self, frame: Frame) -> None:
        if frame.kind is not Kind.PROBE:
            return
        self._heard = clock()
        if self._probed:
            self._counts.echo.observe(self._heard - self._probed)
            self._probed = 0.0
        self.ready.set()
