"""The end of the bus on which frames leave: PUBLISH commands, a few at once; the connection is made anew when lost."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from relay.bus.link import Kind, note
from relay.bus.pipelined_publisher import Publisher
from relay.bus.reconnect import Ended, connected, keep
from relay.bus.sharded_publisher import SILENT_SECONDS, Fan
from relay.logs import Spell
from relay.metrics import Counts
from relay.redis_client.client import Store
from relay.redis_client.connection import RespConnection
from relay.redis_client.keys import Keys
from relay.redis_client.topology import wrong_server

# PUBLISH commands without a reply; what comes meanwhile gathers and makes the next ones larger. With 8, and every
# fourth answered, 5,000 messages a second cost a tenth to a fifth more CPU.
UNDER_WAY: Final = 32


class Publishing:
    """Publishes to nodes by their uid. What can't leave now is lost, as it could be on the way: links make up for it.

    `answered()`: commands were carried out. `made()`: a connection to Redis was made. `anew()`: the one on which this
    node's own probes go was. `lost()`: it is gone, or doesn't do what it should. `again()`: what was under way may be
    lost. `rerouted(uids)`: so may be what was under way to and from these nodes.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        uid: str,
        counts: Counts,
        *,
        answered: Callable[[], None],
        made: Callable[[], None],
        anew: Callable[[], None],
        lost: Callable[[], None],
        again: Callable[[], None],
        rerouted: Callable[[set[str]], None],
    ) -> None:
        self._store = store
        self._keys = keys
        self._uid = uid
        self._counts = counts
        self._answered = answered
        self._made = made
        self._anew = anew
        self._lost = lost
        self._again = again
        self._rerouted = rerouted
        self._publisher: Publisher | Fan | None = None
        self._under_way = 0
        self._served = False  # the connection has carried out a command
        self._why = "not connected yet"  # why nothing can be published; empty once a command was carried out
        self._refusal = ""  # why a server refuses to publish, until it accepts everything again
        self._refused = self._accepted = 0  # since the last look
        self._refusals = Spell("publish refused", "publishing is accepted again")

    @property
    def open(self) -> bool:
        """Whether mail may be published now; otherwise it is to gather."""
        return self._publisher is not None and self._under_way < UNDER_WAY

    @property
    def connection(self) -> RespConnection | None:
        """The connection to the only server that there is; a cluster has many, and looks after them itself."""
        return self._publisher if isinstance(self._publisher, RespConnection) else None

    @property
    def address(self) -> str:
        """The server on which this node's own probes go."""
        if isinstance(self._publisher, Fan):
            return self._store.home(self._keys.inbox(self._uid)) or ""
        return self._publisher.address if self._publisher is not None else ""

    @property
    def trouble(self) -> str:
        """Why nothing can be published now; empty if it can, as far as is known."""
        publisher, why = self._publisher, self._refusal
        if isinstance(publisher, Fan):
            why = why or publisher.trouble(self._keys.inbox(self._uid))
        else:
            why = why or self._why or (publisher.trouble if publisher is not None else "")
        return f"can't publish: {why}" if why else ""

    @property
    def well(self) -> bool:
        """Whether what is published is answered, and not refused."""
        return not self.trouble

    @property
    def silent(self) -> int:
        """Servers at which nothing can be published now."""
        return self._publisher.silent if isinstance(self._publisher, Fan) else int(not self.well)

    def publish(self, frames: list[tuple[str, bytes]]) -> None:
        """Send frames to nodes."""
        if frames and self._publisher is not None:
            inbox = self._keys.inbox
            self._under_way += len(frames)
            self._publisher.send(*(("PUBLISH", inbox(uid), frame) for uid, frame in frames))

    def tell(self, uid: str, kind: Kind, number: int = 0) -> None:
        """Tell one node something that isn't mail."""
        self.publish([(uid, note(kind, self._uid, number))])

    def probe(self, number: int) -> None:
        """Have the node hear its own voice."""
        if self._publisher is not None:
            self._under_way += 1
            self._publisher.probe(self._probe(number))

    def _probe(self, number: int) -> tuple[str, str, bytes]:
        return "PUBLISH", self._keys.inbox(self._uid), note(Kind.PROBE, self._uid, number)

    def announce(self, kind: Kind, number: int = 0) -> bool:
        """Tell every node; False if that isn't possible now."""
        if self._publisher is None:
            return False
        self._under_way += 1
        self._publisher.send(("PUBLISH", self._keys.everyone, note(kind, self._uid, number)))
        return True

    def forget(self, uid: str) -> None:
        """That node is dead."""
        if isinstance(self._publisher, Fan):
            self._publisher.forget(self._keys.inbox(uid))

    def abort(self) -> None:
        """Give up the connections that may be broken."""
        if self._publisher is not None:
            self._publisher.abort()

    def give_up_silent(self) -> bool:
        """Give up the connection if its answers don't come. (On a cluster each is looked after by itself.)"""
        publisher = self._publisher
        if publisher is None or isinstance(publisher, Fan) or publisher.silence < SILENT_SECONDS:
            return False
        self._why = publisher.trouble
        publisher.abort()
        return True

    def look(self) -> None:
        """To be called now and then: whether what was refused is accepted by now."""
        if self._refusal and not self._refused and self._accepted:
            self._refusal = ""
            self._refusals.over()
            self._lost()
        self._refused = self._accepted = 0

    async def run(self) -> None:
        """Keep the connection, for ever; on a cluster the connections."""
        if self._store.sharded:
            await self._fan()
        else:
            await keep(self._session, "publisher", self._not_made)

    def _not_made(self, error: str) -> None:
        self._why = error

    async def _session(self) -> Ended:
        self._under_way = 0
        self._served = False
        take_over = partial(Publisher, answered=self._heard, trial=self._probe(0))
        async with connected(self._store, self._keys.inbox(self._uid), take_over) as publisher:
            self._publisher = publisher
            try:
                self._made()
                self._anew()
                self._again()
                await publisher.lost.wait()
            finally:
                self._publisher, self._why = None, self._why or f"connection lost to {publisher.address}"
                self._lost()
        return Ended(self._served, publisher.address)

    async def _fan(self) -> None:
        self._publisher = Fan(
            self._store,
            self._keys,
            answered=self._heard,
            unanswered=self._unanswered,
            again=self._lines_anew,
            connected=self._made,
            mute=self._mute,
        )
        await self._publisher.run()

    def _heard(self, reply: Any, count: int = 1, where: str = "") -> None:
        self._under_way -= count
        if isinstance(reply, Exception):
            self._refuse(str(reply), where or self.address)
            if wrong_server(reply):
                self._store.doubt()
                self.abort()
        else:
            self._served, self._why = True, ""
            self._accepted += 1
        self._answered()

    def _refuse(self, error: str, where: str) -> None:
        self._refused += 1
        self._counts.publish_refused += 1
        self._refusals.again(server=where, error=error)
        if not self._refusal:
            self._lost()
        self._refusal = f"{where} refuses: {error}"

    def _unanswered(self, count: int) -> None:
        self._under_way -= count

    def _mute(self) -> None:
        self._counts.mute += 1

    def _lines_anew(self, inboxes: Iterable[str]) -> None:
        """The way to these was made anew."""
        uids = {inbox.rpartition(":")[2] for inbox in inboxes}
        if self._uid in uids:
            self._anew()
        self._rerouted(uids)
