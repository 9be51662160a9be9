"""The end of the bus on which frames leave: PUBLISH commands, a few at once; the connection is made anew when lost."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import structlog

from relay.fan import Fan
from relay.link import Kind, note
from relay.publisher import Publisher
from relay.redis_client.client import Store
from relay.redis_client.connection import RespConnection
from relay.redis_client.keys import Keys
from relay.redis_client.reconnect import connected, keep

# PUBLISH commands without a reply; what comes meanwhile gathers and makes the next ones larger (measured best: 8).
UNDER_WAY: Final = 8

log = structlog.get_logger()


class Publishing:
    """Publishes to nodes by their uid. What can't leave now is lost, as it could be on the way: links make up for it.

    `answered()`: commands were carried out. `made()`: a connection to Redis was made. `again()`: what was under way may
    be lost. `rerouted(uids)`: so may be what was under way to and from these nodes.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        uid: str,
        *,
        answered: Callable[[], None],
        made: Callable[[], None],
        again: Callable[[], None],
        rerouted: Callable[[set[str]], None],
    ) -> None:
        self._store = store
        self._keys = keys
        self._uid = uid
        self._answered = answered
        self._made = made
        self._again = again
        self._rerouted = rerouted
        self._publisher: Publisher | Fan | None = None
        self._under_way = 0
        self._served = False  # the connection has carried out a command

    @property
    def open(self) -> bool:
        """Whether mail may be published now; otherwise it is to gather."""
        return self._publisher is not None and self._under_way < UNDER_WAY

    @property
    def connection(self) -> RespConnection | None:
        """The connection to the only server that there is; a cluster has many, and looks after them itself."""
        return self._publisher if isinstance(self._publisher, RespConnection) else None

    def publish(self, frames: list[tuple[str, bytes]]) -> None:
        """Send frames to nodes."""
        if frames and self._publisher is not None:
            inbox = self._keys.inbox
            self._under_way += len(frames)
            self._publisher.send(*(("PUBLISH", inbox(uid), frame) for uid, frame in frames))

    def tell(self, uid: str, kind: Kind, number: int = 0) -> None:
        """Tell one node something that isn't mail."""
        self.publish([(uid, note(kind, self._uid, number))])

    def probe(self) -> None:
        """Have the node hear its own voice."""
        self.tell(self._uid, Kind.PROBE)

    def announce(self, kind: Kind, number: int = 0) -> bool:
        """Tell every node; False if that isn't possible now."""
        if self._publisher is None:
            return False
        self._under_way += 1
        self._publisher.send(("PUBLISH", self._keys.everyone, note(kind, self._uid, number)))
        return True

    def abort(self) -> None:
        """Give up the connections that may be broken."""
        if self._publisher is not None:
            self._publisher.abort()

    async def run(self) -> None:
        """Keep the connection, for ever; on a cluster the connections."""
        if self._store.sharded:
            await self._fan()
        else:
            await keep(self._session, "publisher")

    async def _session(self) -> bool:
        self._under_way = 0
        self._served = False
        inbox = self._keys.inbox(self._uid)
        trial = ("PUBLISH", inbox, note(Kind.PROBE, self._uid))
        take_over = partial(Publisher, answered=self._heard, trial=trial)
        async with connected(self._store, inbox, take_over) as self._publisher:
            try:
                self._made()
                self._again()
                await self._publisher.lost.wait()
            finally:
                self._publisher = None
        return self._served

    async def _fan(self) -> None:
        self._publisher = Fan(
            self._store,
            self._keys.everyone,
            answered=self._heard,
            unanswered=self._unanswered,
            again=self._anew,
            connected=self._made,
        )
        await self._publisher.run()

    def _heard(self, reply: Any, count: int = 1) -> None:
        self._under_way -= count
        if isinstance(reply, Exception):
            log.error("publish refused", error=str(reply))
        else:
            self._served = True
        self._answered()

    def _unanswered(self, count: int) -> None:
        self._under_way -= count

    def _anew(self, inboxes: Iterable[str]) -> None:
        """The way to these was made anew."""
        uids = {inbox.rpartition(":")[2] for inbox in inboxes}
        if self._uid in uids:
            self.probe()
        self._rerouted(uids)
