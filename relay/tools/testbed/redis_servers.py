"""The servers of a testbed: a single one, a primary and a replica with sentinels, or a cluster."""

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
import redis
from anyio.abc import TaskGroup
from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from relay.configuration.config import StartError
from relay.process import embedded_redis
from relay.tools.testbed import topology_setup
from relay.tools.testbed.gossip_proxy import Gossip
from relay.tools.testbed.process import HOST, START_SECONDS, Process, free_port
from relay.tools.testbed.redis_kind import RedisKind
from relay.tools.testbed.topology_setup import PRIMARIES, SENTINELS, SERVICE, Member, Step
from relay.tools.testbed.waiting import POLL_SECONDS, until

T = TypeVar("T")

# The time for all servers to know each other, and for a failover. Both are much faster unless the machine is busy.
PATIENCE_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 0.5  # for a server's state; the server may be frozen


class Server(Process):
    """One Valkey or Redis on the loopback interface. It starts empty, unless it is told to load its last snapshot."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.dump = folder / "dump.rdb"
        settings = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(folder),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
        }
        words = [word for key, value in settings.items() for word in (f"--{key}", value)]
        self.log = folder / "server.log"
        super().__init__([str(embedded_redis.find_program()), *words, *options], self.log)
        self.client: Any = Redis(host=HOST, port=self.port)
        self.state = _blocking_client(self.port)  # for reading the state in a thread

    async def serve(self, *, remember: bool = False) -> None:
        """Start the server and wait until it answers. With `remember` it loads its last snapshot. Raises StartError."""
        if not remember:
            self.dump.unlink(missing_ok=True)
        self.start()
        await until(lambda: self._answers() or not self.alive, START_SECONDS)
        if not self._answers():
            raise StartError(f"the server doesn't start; see {self.log}")

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection((HOST, self.port), START_SECONDS) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(64).startswith(b"+PONG")
        return False

    async def retire(self) -> None:
        """End the server for good, and close its clients."""
        await self.end()
        await self.client.aclose()
        self.state.close()


class Servers:
    """The servers that hold the data (`members`)."""

    def __init__(self, members: list[Server]) -> None:
        self.members = members

    @property
    def url(self) -> str:
        """The URL of the servers for nodes."""
        raise NotImplementedError

    async def start(self, tasks: TaskGroup) -> None:
        """Start all servers, and wait until they work together. Proxies run in `tasks`. Raises StartError."""
        for server in self.members:
            await server.serve()

    async def end(self) -> None:
        """End all servers for good."""
        for server in self.members:
            await server.retire()

    async def primaries(self) -> list[Server]:
        """Return the current primaries, or an empty list while that isn't certain."""
        return await _ask(self._primaries) or []

    async def ready(self) -> bool:
        """Return whether a primary may fail now: a replica could replace it, and all servers know that."""
        return bool(await _ask(self._ready))

    async def until_ready(self) -> None:
        """Wait until a primary may fail (see `ready`). Raises StartError if that takes too long."""
        await _hold(("the servers work together again", self._ready))

    async def replaced(self, old: Server) -> None:
        """Wait until another server has replaced this one, and all others know. Raises StartError after a time-out."""
        await _hold((f"another server takes the place of the one on port {old.port}", lambda: self._replaced(old)))

    async def switch(self) -> Server:
        """Replace a live primary with a replica, as for an upgrade, and return the old primary. Raises StartError."""
        raise NotImplementedError

    def _primaries(self) -> list[Server]:
        return self.members

    def _ready(self) -> bool:
        return False

    def _replaced(self, old: Server) -> bool:
        return False


class Endpoint(Servers):
    """A single server, and a spare one that may replace it behind the address that nodes know.

    The spare server is started when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._spare = Server(folder / "spare", *topology_setup.OPTIONS)
        super().__init__([Server(folder, *topology_setup.OPTIONS)])

    @property
    def url(self) -> str:
        """The URL of the server for nodes."""
        return f"redis://{HOST}:{self.members[0].port}"

    async def end(self) -> None:
        """End both servers for good."""
        await super().end()
        await self._spare.retire()

    async def switch(self) -> Server:
        """Have the new server replace the old one, which becomes its replica. Only the new one is a member then."""
        (old,), new = self.members, self._spare
        await new.serve()
        await anyio.to_thread.run_sync(topology_setup.demote, new.state, old.port)
        await _hold(("the replica is in step", lambda: topology_setup.replicates(new.state)))
        await anyio.to_thread.run_sync(topology_setup.put_in_place, new.state)
        self.members, self._spare = [new], old
        await anyio.to_thread.run_sync(topology_setup.demote, old.state, new.port)
        return old

    def _ready(self) -> bool:
        return True  # the spare server is made a replica when it is needed


class Sentinel(Process):
    """A sentinel that watches the primary on this port."""

    def __init__(self, folder: Path, primary: int) -> None:
        folder.mkdir()
        self.port = free_port()
        settings = folder / "sentinel.conf"  # the sentinel writes its state there, too
        settings.write_text(topology_setup.sentinel_settings(folder, self.port, primary))
        super().__init__([str(embedded_redis.find_program()), str(settings), "--sentinel"], folder / "sentinel.log")
        self.state = _blocking_client(self.port)

    async def retire(self) -> None:
        """End the sentinel for good, and close its client."""
        await self.end()
        self.state.close()


class Watched(Servers):
    """A primary, a replica, and sentinels that can replace the one with the other."""

    def __init__(self, folder: Path) -> None:
        primary = Server(folder / "server0", *topology_setup.OPTIONS)
        replica = Server(folder / "server1", *topology_setup.OPTIONS, "--replicaof", HOST, str(primary.port))
        super().__init__([primary, replica])
        self._sentinels = [Sentinel(folder / f"sentinel{number}", primary.port) for number in range(SENTINELS)]

    @property
    def url(self) -> str:
        """The URL with the sentinels and the name of their service."""
        return f"redis+sentinel://{','.join(f'{HOST}:{sentinel.port}' for sentinel in self._sentinels)}/{SERVICE}"

    async def start(self, tasks: TaskGroup) -> None:
        """Start the servers before the sentinels, which ask the primary for its replicas at once. Raises StartError."""
        await super().start(tasks)
        await _hold(("the replica is in step", lambda: topology_setup.replicates(self.members[1].state)))
        for sentinel in self._sentinels:
            sentinel.start()
        await _hold(("the sentinels know all others", self._ready))

    async def end(self) -> None:
        """End the sentinels before the servers, so that they don't start a failover."""
        for sentinel in self._sentinels:
            await sentinel.retire()
        await super().end()

    async def switch(self) -> Server:
        """Have the sentinels put a replica in the primary's place. Returns the old primary."""
        (old,) = await self.primaries()
        await anyio.to_thread.run_sync(topology_setup.order_failover, self._sentinels[0].state)
        await self.replaced(old)
        return old

    def _primaries(self) -> list[Server]:
        ports = {topology_setup.named(sentinel.state) for sentinel in self._sentinels}
        return [server for server in self.members if {server.port} == ports]

    def _ready(self) -> bool:
        replicas = len(self.members) - 1
        return bool(self._primaries()) and all(topology_setup.knows_all(s.state, replicas) for s in self._sentinels)

    def _replaced(self, old: Server) -> bool:
        return old not in (self._primaries() or [old])


class Cluster(Servers):
    """A cluster of three primaries with a share of the slots each, and a replica for each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._buses = [free_port() for _ in range(2 * PRIMARIES)]
        self.gossip = Gossip(self._buses)
        super().__init__([])

    @property
    def url(self) -> str:
        """The URL with the first primaries, as operators write it. They know the other servers, and may be down."""
        return f"redis+cluster://{','.join(f'{HOST}:{server.port}' for server in self.members[:PRIMARIES])}"

    async def start(self, tasks: TaskGroup) -> None:
        """Start all servers and form a cluster of them. Raises StartError."""
        await tasks.start(self.gossip.run)
        pairs = list(zip(self._buses, self.gossip.ports, strict=True))
        self.members = [
            Server(self._folder / f"server{number}", *topology_setup.cluster_options(bus, port))
            for number, (bus, port) in enumerate(pairs)
        ]
        await super().start(tasks)
        steps = topology_setup.form_cluster(
            [
                Member(server.state, server.port, port)
                for server, port in zip(self.members, self.gossip.ports, strict=True)
            ]
        )
        while (step := await anyio.to_thread.run_sync(next, steps, None)) is not None:
            await _hold(step)

    async def switch(self) -> Server:
        """Have a replica take its living primary's place. Returns the old primary."""
        old, new = await anyio.to_thread.run_sync(self._pair)
        await anyio.to_thread.run_sync(topology_setup.take_over, new.state)
        await self.replaced(old)
        return old

    def _pair(self) -> tuple[Server, Server]:
        """Return a primary and its replica."""
        new = next(server for server in self.members if topology_setup.replicates(server.state))
        port = topology_setup.primary_of(new.state)
        return next(server for server in self.members if server.port == port), new

    async def cut_off(self, server: Server) -> None:
        """Isolate a server from the others. Clients still reach it."""
        id = await anyio.to_thread.run_sync(server.state.cluster, "MYID")
        self.gossip.cut(self.members.index(server), id)

    async def patience(self, seconds: float) -> None:
        """Set after how many seconds of silence a server is considered as failed."""
        await anyio.to_thread.run_sync(topology_setup.set_timeout, [server.state for server in self.members], seconds)

    async def shares(self) -> list[tuple[range, int]]:
        """Return the ranges of slots with the port of the primary of each, or an empty list without an answer."""
        return await _ask(lambda: topology_setup.shares(self.members[0].state)) or []

    def _primaries(self) -> list[Server]:
        ports = topology_setup.serving(self.members[0].state)
        return [server for server in self.members if server.port in ports]

    def _ready(self) -> bool:
        replicas = [server for server in self.members if server not in self._primaries()]
        whole = all(topology_setup.is_whole(server.state, len(self.members)) for server in self.members)
        return (
            whole and len(replicas) == PRIMARIES and all(topology_setup.replicates(server.state) for server in replicas)
        )

    def _replaced(self, old: Server) -> bool:
        others = [server.state for server in self.members if server is not old]
        return all(
            topology_setup.is_whole(s, len(self.members)) and old.port not in topology_setup.serving(s) for s in others
        )


def make(engine: RedisKind, folder: Path) -> Servers:
    """Return the servers of an engine, which aren't started yet, with their files in an empty folder."""
    kinds = {RedisKind.STANDALONE: Endpoint, RedisKind.SENTINEL: Watched, RedisKind.CLUSTER: Cluster}
    return kinds[engine](folder)


def _blocking_client(port: int) -> redis.Redis:
    return redis.Redis(
        host=HOST,
        port=port,
        decode_responses=True,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


async def _ask(question: Callable[[], T]) -> T | None:
    """Return the answer, or None if a server gives none."""
    with suppress(RedisError, OSError):
        return await anyio.to_thread.run_sync(question)
    return None


async def _hold(step: Step) -> None:
    what, true = step
    with anyio.move_on_after(PATIENCE_SECONDS):
        while not await _ask(true):  # noqa: ASYNC110  no server notifies of it
            await anyio.sleep(POLL_SECONDS)
        return
    raise StartError(f"not within {PATIENCE_SECONDS:g} s: {what}")
