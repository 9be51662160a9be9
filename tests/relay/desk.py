"""Connections without sockets: a real node core whose clients are transports in memory."""

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

import anyio
import pytest
from anyio.abc import TaskGroup

from relay.bus.bus import Bus
from relay.directory.directory import Directory, DirectoryDelegate, Lease, Unavailable
from relay.hub.hub import Hub
from relay.redis_client import client as client_module
from relay.redis_client import request_queue, round_trip_timeout
from relay.redis_client.client import RedisClient
from relay.redis_client.keys import PARTITIONS, Keys
from relay.server.connection import Connection
from relay.session.runtime_interface import Limits
from tests.support.memory import MemoryDirectory

Core = TypeVar("Core", bound=Hub)

NODE_ID = "n" * 16
MAX_LINE = 65_536
# Nothing renews it here; far longer than any test.
LEASE_SECONDS = 60.0
# What has not happened by then won't happen.
PATIENCE_SECONDS = 5.0


async def until(what: Callable[[], Any]) -> None:
    """Wait for a condition."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while not what():  # noqa: ASYNC110  whatever it is, there is no event for it
            await anyio.sleep(0.001)


@contextmanager
def patient() -> Iterator[None]:
    """For a server that is there: where a busy machine gives it no turn for a second, calls wait on.

    A name or a call would be `unavailable` then, and a test would wait for the welcome that doesn't come.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module in (client_module, request_queue):
            patch.setattr(module, "CALL_SECONDS", PATIENCE_SECONDS)
        for wait in ("FIRST_SECONDS", "SLACK_SECONDS", "LONGEST_SECONDS"):
            patch.setattr(round_trip_timeout, wait, PATIENCE_SECONDS)
        yield


class OnAServer(NamedTuple):
    """What a node has of a Redis: its connections, its lease and the tasks in which they run."""

    redis_client: RedisClient
    keys: Keys
    lease: Lease
    tasks: TaskGroup

    def directory(self, delegate: DirectoryDelegate) -> Directory:
        """The node's view of the directory there."""
        return Directory(self.redis_client, self.keys, self.lease, delegate)


@asynccontextmanager
async def on_a_server(url: str, prefix: str, node_id: str = NODE_ID) -> AsyncIterator[OnAServer]:
    """A node's way to a directory on a server. The lease is taken, and nothing renews it."""
    redis_client, keys = RedisClient(url), Keys(prefix)
    lease = Lease(redis_client, keys, node_id, LEASE_SECONDS)
    with patient():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(redis_client.run)
            await lease.take()
            await _founded(redis_client, keys, lease)
            yield OnAServer(redis_client, keys, lease, tasks)
            tasks.cancel_scope.cancel()
    await redis_client.aclose()


@asynccontextmanager
async def a_hub(url: str, prefix: str, limits: Limits, node_id: str = NODE_ID) -> AsyncIterator[Hub]:
    """The core of a node. Its bus isn't run: mail for other nodes stays in its boxes."""
    async with on_a_server(url, prefix, node_id) as there:
        bus = partial(Bus, there.redis_client, there.keys, node_id, lease=there.lease)
        hub = Hub(node_id, "n1", limits, there.tasks, directory=there.directory, bus=bus, drain=_stay)
        yield hub
        await over(hub)


@asynccontextmanager
async def a_router_in_memory(memory: MemoryDirectory, limits: Limits) -> AsyncIterator[Hub]:
    """The same without a server."""
    async with anyio.create_task_group() as tasks:
        hub = in_memory(Hub, memory, NODE_ID, limits, tasks)
        yield hub
        await over(hub)
        tasks.cancel_scope.cancel()


def in_memory(kind: type[Core], memory: MemoryDirectory, node_id: str, limits: Limits, tasks: TaskGroup) -> Core:
    """The core of a node on the directory in memory. Its bus has no Redis client and can't be run."""
    return kind(
        node_id,
        node_id,
        limits,
        tasks,
        directory=cast(Callable[[DirectoryDelegate], Directory], partial(memory.node, node_id)),
        bus=partial(Bus, cast(RedisClient, None), Keys("memory"), node_id, lease=memory.lease(node_id)),
        drain=_stay,
    )


async def over(hub: Hub) -> None:
    """The end of a core: it has written what it had to write, and does nothing any more."""
    await written(hub)
    hub.halt()


async def written(hub: Hub) -> None:
    """Wait until the directory has heard everything that there is to say.

    This looks at a private part: the hub itself tells `quiet` only of a node whose clients are gone as well.
    """
    await until(lambda: hub._record_writer.quiet)


def _stay() -> None:
    raise AssertionError("nobody tells this node to end")


# A server copies all partitions of a prefix in a millisecond; to make them with a thousand scripts takes it fifty.
_COPY = """
for number = 0, tonumber(ARGV[3]) - 1 do
  redis.call('COPY', ARGV[1] .. number .. '}', ARGV[2] .. number .. '}')
end
return redis.call('EXISTS', ARGV[2] .. '0}')
"""
_FOUNDED = "founded"  # a prefix


async def _founded(redis_client: RedisClient, keys: Keys, lease: Lease) -> None:
    """Have all partitions of a directory with no records, of which each server makes one as a node does."""
    if await _copied(redis_client, keys):
        return
    # As it is empty, its delegate is told nothing.
    first = Directory(redis_client, Keys(_FOUNDED), lease, cast(DirectoryDelegate, None))
    # A thousand commands at once may take a busy machine longer than a call may last.
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            with suppress(Unavailable):
                await first.found(_alone)
                break
    assert await _copied(redis_client, keys)


async def _copied(redis_client: RedisClient, keys: Keys) -> bool:
    stems = (of.partition(0).removesuffix("0}") for of in (Keys(_FOUNDED), keys))
    return bool(await redis_client.call("EVAL", _COPY, 0, *stems, PARTITIONS))


async def _alone() -> bool:
    return True


class Tcp(asyncio.Transport):
    """The transport of asyncio, without a network: `full`, the kernel takes no more."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.full = False
        self.closed = False  # by the node, after everything was written
        self.aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class Wire(Tcp):
    """A socket and its client: `full`, the client doesn't read and the kernel takes no more."""

    def __init__(self, hub: Hub, *, classic: bool = False, max_line: int = MAX_LINE) -> None:
        super().__init__()
        self._hub = hub
        self.socket = socket.socket()
        self.writes: list[bytes] = []
        self.rounds: list[int] = []  # the turn of the loop of each write
        self._unsent: deque[bytes] = deque()
        self.connection = Connection(hub, max_line, classic=classic)
        self.connection.connection_made(self)

    # --- the client

    def send(self, data: bytes) -> None:
        """Send bytes; they are read as far as the node reads."""
        self._unsent.append(data)
        self._feed()

    @property
    def unsent(self) -> int:
        """Bytes that the node hasn't read."""
        return sum(map(len, self._unsent))

    def end(self) -> None:
        """Send nothing more (EOF)."""
        self.connection.eof_received()

    def reset(self) -> None:
        """Break the connection."""
        self.connection.connection_lost(ConnectionResetError())

    def read(self) -> None:
        """Read all that the kernel has."""
        self.full = False
        self.connection.resume_writing()

    @property
    def sent(self) -> bytes:
        """All that the node wrote."""
        return b"".join(self.writes)

    def lines(self) -> list[bytes]:
        """The same, in lines; asked again, only what is new."""
        lines = self.sent.splitlines()
        self.writes.clear()
        self.rounds.clear()
        return lines

    def _feed(self) -> None:
        while self.reading and self._unsent and not self.aborted:
            data = self._unsent.popleft()
            room = self.connection.get_buffer(-1)
            if rest := data[len(room) :]:
                self._unsent.appendleft(rest)
            count = len(data) - len(rest)
            room[:count] = data[:count]
            self.connection.buffer_updated(count)

    # --- the transport of asyncio

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.socket if name == "socket" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not data:
            return  # as a transport of asyncio does
        self.writes.append(bytes(data))
        self.rounds.append(self._hub.loop_iteration)
        if self.full:
            self.connection.pause_writing()

    def resume_reading(self) -> None:
        super().resume_reading()
        asyncio.get_running_loop().call_soon(self._feed)

    def abort(self) -> None:
        super().abort()
        asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)


Connect = Callable[..., Wire]


@contextmanager
def clients(hub: Hub) -> Iterator[Connect]:
    """Connects clients, who may say something at once; at the end those who are left go."""
    wires: list[Wire] = []

    def connect(data: bytes = b"", *, classic: bool = False, max_line: int = MAX_LINE) -> Wire:
        wires.append(Wire(hub, classic=classic, max_line=max_line))
        if data:
            wires[-1].send(data)
        return wires[-1]

    yield connect
    for one in wires:
        one.reset()
        one.socket.close()


async def text(connect: Connect, name: bytes) -> Wire:
    """A text client with a name."""
    client = connect()
    client.send(name + b"\n")
    await until(lambda: client.lines() == [b"OK"])
    return client


async def program(connect: Connect, name: bytes, acks: bytes = b"false") -> Wire:
    """A JSON client with a name."""
    client = connect()
    client.send(b'{"type":"hello","name":"%b","acks":%b}\n' % (name, acks))
    await until(lambda: b'"welcome"' in client.sent)
    client.lines()
    return client


async def paired(caller: Wire, callee: Wire, name: bytes) -> None:
    """A text client calls someone."""
    caller.send(b"To:%b\n" % name)
    await until(lambda: caller.lines())
    await until(lambda: callee.lines())


class Guests:
    """Opens JSON clients on any node core, and sends them home. `every`: what each of them says in its `hello`."""

    def __init__(self, **every: str) -> None:
        self._every = every
        self._wires: list[Wire] = []

    def connect(self, hub: Hub) -> Wire:
        """A client that has said nothing yet."""
        self._wires.append(Wire(hub))
        return self._wires[-1]

    def at(self, hub: Hub, name: str = "ann", **more: str) -> Wire:
        """A client that asks for a name."""
        wire = self.connect(hub)
        wire.send(json.dumps({"type": "hello", "name": name} | self._every | more).encode() + b"\n")
        return wire

    def close(self) -> None:
        """Break what is left."""
        for wire in self._wires:
            wire.reset()
            wire.socket.close()


async def answer(wire: Wire) -> dict[str, Any]:
    """The first frame that the client is sent."""
    await until(lambda: wire.writes)
    found: dict[str, Any] = json.loads(wire.lines()[0])
    return found


async def token_of(wire: Wire) -> str:
    """The token in the client's `welcome`, which is what it is sent first."""
    welcome = await answer(wire)
    assert welcome["type"] == "welcome", welcome
    return str(welcome["token"])
