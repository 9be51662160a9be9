"""Two nodes' cores joined in memory: sessions, claims, hubs, buses and connections as they are, without a Redis.

Everything that happens follows from what clients send, in an order that is the same in every run.
"""

import asyncio
import re
from collections import deque
from typing import Any, Self, cast

import anyio

from relay.bus.bus import Bus
from relay.bus.standalone_publisher_backend import StandalonePublisherBackend
from relay.hub.hub import Hub
from relay.session.runtime_interface import Limits
from tests.relay.desk import Wire, in_memory
from tests.support.memory import MemoryDirectory

# Turns of the loop without anything to do, after which nothing more will come.
QUIET_TURNS = 4


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
    """A node whose ids of chats are the same in every run."""

    _ids = 0

    def new_id(self) -> str:
        self._ids += 1
        return f"chat {self._ids} of {self.node_id}"


class Twins:
    """Both nodes and their clients, while the context lasts."""

    def __init__(self, limits: Limits, max_line: int) -> None:
        self._limits, self._max_line = limits, max_line
        self._redis = Redis()
        self._tasks = anyio.create_task_group()
        self._nodes: list[Twin] = []
        self.wires: list[Wire] = []

    async def __aenter__(self) -> Self:
        directory = MemoryDirectory()
        await self._tasks.__aenter__()
        for node_id in ("1" * 16, "2" * 16):
            node = in_memory(Twin, directory, node_id, self._limits, self._tasks)
            self._redis.nodes[node_id] = node.bus
            node.bus._publishing._publisher = cast(StandalonePublisherBackend, _Publisher(self._redis, node.bus))
            self._nodes.append(node)
        return self

    async def __aexit__(self, *raised: Any) -> bool | None:
        for wire in self.wires:
            wire.reset()
            wire.socket.close()
        if raised[0] is None:
            await self.settle()  # a step that a connection's end starts must not come after the cancellation
        for node in self._nodes:
            node.halt()
        self._tasks.cancel_scope.cancel()
        return await self._tasks.__aexit__(*raised)

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


def timeless(data: bytes) -> bytes:
    """What a client was told, without when, and without its token, which nobody can guess."""
    return re.sub(rb'"at":[0-9.]+|\[.{24}\]|"token":"[^"]+"', b"", data)
