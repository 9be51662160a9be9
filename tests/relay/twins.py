"""Two nodes' cores joined in memory: sessions, routers, buses and connections as they are; Redis is a few lines.

Everything that happens follows from what clients send, in an order that is the same in every run.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from relay.bus.bus import Bus
from relay.bus.pipelined_publisher import PipelinedPublisher
from relay.directory.directory import DirectoryDelegate
from relay.hub.hub import Hub
from relay.model import Located
from relay.names.parse import Name
from relay.protocol.errors import Code, Ending, Presence
from relay.protocol.events import Claim
from relay.redis_client.keys import Keys
from relay.session.runtime import Limits
from relay.session.session import Session
from tests.relay.desk import Wire

# Turns of the loop without anything to do, after which nothing more will come.
QUIET_TURNS = 4


class _Lease:
    standing, failing = True, False
    seconds = 5.0

    def reconnected(self) -> None:
        raise AssertionError("there are no connections")


class _Directory:
    lease = _Lease()
    latency = 0.0  # seconds

    def __init__(self, _delegate: DirectoryDelegate) -> None:
        pass


def _stay() -> None:
    raise AssertionError("nobody tells this node to end")


class Redis:
    """Delivers what is published, once and in order, in a later turn of the loop."""

    def __init__(self) -> None:
        self.nodes: dict[str, Bus] = {}
        self._waiting: deque[tuple[Bus, bytes, bytes]] = deque()
        self.busy = False

    def publish(self, by: Bus, channel: bytes, frame: bytes) -> None:
        self.busy = True
        self._waiting.append((by, channel, frame))
        asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        self.busy = True
        by, channel, frame = self._waiting.popleft()
        self.nodes[channel.decode().rsplit(":")[-1]]._subscription._pushed([b"message", channel, frame])
        by._publishing.answered(1)


class _Publisher:
    def __init__(self, redis: Redis, bus: Bus) -> None:
        self._redis, self._bus = redis, bus

    def send(self, *commands: tuple[str | bytes | int, ...]) -> None:
        for _, channel, frame in commands:
            assert isinstance(channel, str)
            assert isinstance(frame, bytes)
            self._redis.publish(self._bus, channel.encode(), frame)


class Twin(Hub):
    """A node whose directory answers at once."""

    def __init__(self, node_id: str, redis: Redis, limits: Limits, names: dict[str, Session]) -> None:
        super().__init__(
            node_id,
            node_id,
            limits,
            cast(Any, None),  # a directory that answers at once needs no tasks
            directory=cast(Any, _Directory),
            bus=partial(Bus, cast(Any, None), Keys("t"), node_id, lease=_Lease()),
            drain=_stay,
        )
        self._names = names
        self._ids = 0
        redis.nodes[node_id] = self.bus
        self.bus._publishing._publisher = cast(PipelinedPublisher, _Publisher(redis, self.bus))

    def claim(self, session: Session, name: Name, claim: Claim) -> None:
        if name.canonical_name in self._names:
            session.unclaimed(Code.NAME_TAKEN)
        else:
            self._names[name.canonical_name] = self.sessions[name.canonical_name] = session
            session.claimed(f"sid of {name.canonical_name}", 1, f"token of {name.canonical_name}", "hash")

    def locate(self, canonical_name: str, then: Callable[[Located | Code], None]) -> None:
        owner = self._names.get(canonical_name)
        then(Located(Presence.OFFLINE) if owner is None else Located(owner.presence, owner.host.node_id))

    def save(self, session: Session, then: Callable[[bool], None] | None = None) -> None:
        if then is not None:
            then(session.named)

    def release(self, session: Session, then: Callable[[], None], why: Ending) -> None:
        self.forget(session, why)
        self._names.pop(session.canonical_name, None)
        then()

    def new_id(self) -> str:
        self._ids += 1
        return f"chat {self._ids} of {self.node_id}"


class Twins:
    """Both nodes and their clients. To be made in a running loop."""

    def __init__(self, limits: Limits, max_line: int) -> None:
        self._redis, self._max_line = Redis(), max_line
        names: dict[str, Session] = {}
        self._nodes = [Twin(digit * 16, self._redis, limits, names) for digit in "12"]
        self.wires: list[Wire] = []

    def wire(self, node: int, *, classic: bool = False) -> Wire:
        """A client of one of the two."""
        self.wires.append(Wire(self._nodes[node], classic=classic, max_line=self._max_line))
        return self.wires[-1]

    async def settle(self) -> None:
        """Let everything happen that follows from what was sent."""
        quiet = 0
        while quiet < QUIET_TURNS:
            rounds, self._redis.busy = [node.loop_iteration for node in self._nodes], False
            await asyncio.sleep(0)
            quiet = quiet + 1 if rounds == [node.loop_iteration for node in self._nodes] and not self._redis.busy else 0

    def close(self) -> None:
        for wire in self.wires:
            wire.reset()
            wire.socket.close()


def timeless(data: bytes) -> bytes:
    """What a client was told, without when."""
    return re.sub(rb'"at":[0-9.]+|\[.{24}\]', b"", data)
