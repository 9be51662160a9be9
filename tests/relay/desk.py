"""Connections without sockets: a real node core whose clients are transports in memory."""

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from itertools import count
from typing import Any, NamedTuple, cast

import anyio
import pytest
from anyio.abc import TaskGroup

from relay.bus.bus import Bus
from relay.bus.delegates import BusDelegate
from relay.directory.directory import Directory, DirectoryDelegate, Lease, Unavailable
from relay.hub.hub import Hub
from relay.hub.rate_limit import NOWHERE, ClientSource
from relay.redis_client import client as client_module
from relay.redis_client import request_queue, round_trip_timeout
from relay.redis_client.client import RedisClient
from relay.redis_client.keys import PARTITIONS, Keys
from relay.server.connection import Connection, HttpTakeover
from relay.session.runtime_interface import Limits
from tests.support.memory import MemoryDirectory
from tests.support.memory_bus import MemoryBus

NODE_ID = "n" * 16
MAX_LINE = 65_536
# Nothing renews the lease here, so it is far longer than any test.
LEASE_SECONDS = 60.0
# If something hasn't happened by then, it won't happen.
PATIENCE_SECONDS = 5.0


async def until(what: Callable[[], Any]) -> None:
    """Wait for a condition."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while not what():  # noqa: ASYNC110  whatever it is, there is no event for it
            await anyio.sleep(0.001)


@contextmanager
def patient() -> Iterator[None]:
    """Have calls wait longer than a second for a server that is up.

    A busy machine may give the server no turn for a second. A name or a call would then be `unavailable`, and the test
    would wait for a welcome in vain.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module in (client_module, request_queue):
            patch.setattr(module, "CALL_SECONDS", PATIENCE_SECONDS)
        for wait in ("FIRST_SECONDS", "SLACK_SECONDS", "LONGEST_SECONDS"):
            patch.setattr(round_trip_timeout, wait, PATIENCE_SECONDS)
        yield


class OnAServer(NamedTuple):
    """A node's access to a Redis: its connections, its lease and the tasks in which they run."""

    redis_client: RedisClient
    keys: Keys
    lease: Lease
    tasks: TaskGroup

    def directory(self, delegate: DirectoryDelegate) -> Directory:
        """Return the node's view of the directory there."""
        return Directory(self.redis_client, self.keys, self.lease, delegate)


@asynccontextmanager
async def on_a_server(url: str, prefix: str, node_id: str = NODE_ID) -> AsyncIterator[OnAServer]:
    """Create a node's access to a directory on a server. The lease is taken, and nothing renews it."""
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
    """Create the core of a node. Its bus doesn't run, so messages for other nodes stay queued."""
    async with on_a_server(url, prefix, node_id) as there:
        bus = partial(Bus, there.redis_client, there.keys, node_id, lease=there.lease)
        hub = Hub(node_id, "n1", limits, there.tasks, directory=there.directory, bus=bus, drain=_stay)
        yield hub
        await over(hub)


@asynccontextmanager
async def a_router_in_memory(memory: MemoryDirectory, limits: Limits) -> AsyncIterator[Hub]:
    """Create the core of a node without a server."""
    async with anyio.create_task_group() as tasks:
        hub = in_memory(memory, MemoryBus(), NODE_ID, limits, tasks)
        yield hub
        await over(hub)
        tasks.cancel_scope.cancel()


class NumberedHub(Hub):
    """A hub whose ids of chats are the same in every run: those of `ids`."""

    ids: Iterator[str]

    def new_id(self) -> str:
        return next(self.ids)


def in_memory(
    directory: MemoryDirectory, bus: MemoryBus, node_id: str, limits: Limits, tasks: TaskGroup
) -> NumberedHub:
    """The core of a node on the directory and the bus in memory."""
    lease = directory.lease(node_id)
    hub = NumberedHub(
        node_id,
        node_id,
        limits,
        tasks,
        directory=cast(Callable[[DirectoryDelegate], Directory], partial(directory.node, node_id)),
        bus=cast(Callable[[BusDelegate], Bus], partial(bus.node, node_id, lease=lease)),
        drain=_stay,
    )
    hub.ids = (f"chat {number} of {node_id}" for number in count(1))
    return hub


async def over(hub: Hub) -> None:
    """End a core once it has written everything, so that it does nothing any more."""
    await written(hub)
    hub.halt()


async def written(hub: Hub) -> None:
    """Wait until the directory has heard everything that there is to say."""
    await until(lambda: hub.written)


def _stay() -> None:
    raise AssertionError("nobody tells this node to end")


# A server copies all partitions of a prefix in a millisecond. A thousand scripts would take fifty.
_COPY = """
for number = 0, tonumber(ARGV[3]) - 1 do
  redis.call('COPY', ARGV[1] .. number .. '}', ARGV[2] .. number .. '}')
end
return redis.call('EXISTS', ARGV[2] .. '0}')
"""
_FOUNDED = "founded"  # the prefix


async def _founded(redis_client: RedisClient, keys: Keys, lease: Lease) -> None:
    """Make all partitions of a directory without records. Each server makes them once, as a node does."""
    if await _copied(redis_client, keys):
        return
    # The directory is empty, so its delegate is told nothing.
    first = Directory(redis_client, Keys(_FOUNDED), lease, cast(DirectoryDelegate, None))
    # A busy machine may need longer for a thousand commands than a call may last.
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
    """The transport of asyncio, without a network. With `full` the kernel takes no more."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.full = False
        self.closed = False  # the node closed it, after everything was written
        self.aborted = False
        self.eof_written = False  # by the node

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

    def write_eof(self) -> None:
        assert not self.eof_written
        self.eof_written = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class Wire(Tcp):
    """A socket and its client. With `full` the client doesn't read, and the kernel takes no more."""

    def __init__(
        self,
        hub: Hub,
        *,
        classic: bool = False,
        max_line: int = MAX_LINE,
        http: HttpTakeover | None = None,
        origin: ClientSource = NOWHERE,
    ) -> None:
        super().__init__()
        self._hub = hub
        self.socket = socket.socket()
        self.writes: list[bytes] = []
        self.rounds: list[int] = []  # the loop iteration of each write
        self._unsent: deque[bytes] = deque()
        self.connection = Connection(hub, max_line, classic=classic, http=http, origin=origin)
        self.connection.connection_made(self)

    # --- the client

    def send(self, data: bytes) -> None:
        """Send bytes, which the node reads when it wants to."""
        self._unsent.append(data)
        self._feed()

    @property
    def unsent(self) -> int:
        """Return the number of bytes that the node hasn't read."""
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
        """Return everything that the node wrote."""
        return b"".join(self.writes)

    def lines(self) -> list[bytes]:
        """Return the lines that are new since the last call."""
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
            return  # asyncio's transports do the same
        self.writes.append(bytes(data))
        self.rounds.append(self._hub.loop_iteration)
        if self.full:
            self.connection.pause_writing()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.connection = cast(Connection, protocol)

    def resume_reading(self) -> None:
        super().resume_reading()
        asyncio.get_running_loop().call_soon(self._feed)

    def abort(self) -> None:
        super().abort()
        asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)


Connect = Callable[..., Wire]


@contextmanager
def clients(hub: Hub) -> Iterator[Connect]:
    """Connects clients, which may send something at once. Those that are left at the end disconnect."""
    wires: list[Wire] = []

    def connect(
        data: bytes = b"",
        *,
        classic: bool = False,
        max_line: int = MAX_LINE,
        http: HttpTakeover | None = None,
        origin: ClientSource = NOWHERE,
    ) -> Wire:
        wires.append(Wire(hub, classic=classic, max_line=max_line, http=http, origin=origin))
        if data:
            wires[-1].send(data)
        return wires[-1]

    yield connect
    for one in wires:
        one.reset()
        one.socket.close()


async def text(connect: Connect, name: bytes) -> Wire:
    """Return a text client with a name."""
    client = connect()
    client.send(name + b"\n")
    await until(lambda: client.lines() == [b"OK"])
    return client


async def program(connect: Connect, name: bytes, acks: bytes = b"false") -> Wire:
    """Return a JSON client with a name."""
    client = connect()
    client.send(b'{"type":"hello","name":"%b","acks":%b}\n' % (name, acks))
    await until(lambda: b'"welcome"' in client.sent)
    client.lines()
    return client


async def paired(caller: Wire, callee: Wire, name: bytes) -> None:
    """Return a text client that has called someone."""
    caller.send(b"To:%b\n" % name)
    await until(lambda: caller.lines())
    await until(lambda: callee.lines())


class Guests:
    """Opens JSON clients on any node core, and closes them. `every` has fields for the `hello` of each."""

    def __init__(self, **every: str) -> None:
        self._every = every
        self._wires: list[Wire] = []

    def connect(self, hub: Hub) -> Wire:
        """Return a client that has sent nothing yet."""
        self._wires.append(Wire(hub))
        return self._wires[-1]

    def at(self, hub: Hub, name: str = "ann", **more: str) -> Wire:
        """Return a client that has claimed a name."""
        wire = self.connect(hub)
        wire.send(json.dumps({"type": "hello", "name": name} | self._every | more).encode() + b"\n")
        return wire

    def close(self) -> None:
        """Break all remaining connections."""
        for wire in self._wires:
            wire.reset()
            wire.socket.close()


async def answer(wire: Wire) -> dict[str, Any]:
    """Return the first frame to the client."""
    await until(lambda: wire.writes)
    found: dict[str, Any] = json.loads(wire.lines()[0])
    return found


async def token_of(wire: Wire) -> str:
    """Return the token in the client's `welcome`, which is its first frame."""
    welcome = await answer(wire)
    assert welcome["type"] == "welcome", welcome
    return str(welcome["token"])
