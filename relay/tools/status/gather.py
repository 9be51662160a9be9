"""Reads all that Redis knows about a relay: the nodes' reports, their leases, and the state of the servers."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import Any

import anyio
import msgspec

from relay.configuration import redis_url
from relay.configuration.config import Config, StartError, first_error, one_start_error, redact
from relay.directory.lease import TAIL_SECONDS
from relay.observe.status_publisher import read
from relay.observe.status_report import Report
from relay.redis_client.client import RedisClient, Unavailable
from relay.redis_client.keys import Keys


class Node(msgspec.Struct, frozen=True):
    """A node's report, and the state of its lease."""

    node_id: str
    report: Report
    left: float | None  # seconds until its lease lapses, negative once it has lapsed, or None if there is none
    unknown: bool = False  # the server with its lease can't be reached

    @property
    def lives(self) -> bool:
        """Whether its lease holds."""
        return self.left is not None and self.left > 0

    @property
    def age(self) -> float | None:
        """Seconds since the lease was renewed."""
        return None if self.left is None else round(max(0.0, self.report.lease - self.left), 3)


class Server(msgspec.Struct, frozen=True):
    """One server that holds data."""

    address: str
    role: str
    version: str
    memory: int  # bytes
    clients: int
    policy: str  # maxmemory-policy
    replicas: tuple[str, ...]  # address and state
    trouble: str = ""  # why it can't be reached; then nothing else is known


class Status(msgspec.Struct, frozen=True):
    """The state of a relay at one moment."""

    prefix: str
    engine: str  # standalone, sentinel or cluster
    nodes: tuple[Node, ...]
    servers: tuple[Server, ...]
    trouble: str = ""  # why the nodes can't be listed

    @property
    def living(self) -> list[Node]:
        """The nodes whose lease holds."""
        return [node for node in self.nodes if node.lives]

    @property
    def shared_names(self) -> dict[str, int]:
        """The names that several living nodes share, with their number: each node should have its own."""
        counts = Counter(node.report.name for node in self.living)
        return {name: count for name, count in counts.items() if count > 1}

    def total(self, field: str) -> float:
        """Return the sum of a report's field over all living nodes."""
        return float(sum(getattr(node.report, field) for node in self.living))

    @property
    def pairs(self) -> int:
        """The number of chats. Nodes count their users at different moments, so it may be off by one."""
        return round(self.total("chatting") / 2)


class Gatherer:
    """Reads the state of one relay from one Redis, while `redis_client.run` runs. It writes nothing."""

    def __init__(self, told: Config) -> None:
        """Read from the relay that `told` identifies. Raises ConfigError if a file for connections can't be used."""
        assert told.redis is not None
        self.redis_client = RedisClient(told.redis, password_file=told.redis_password_file)
        self._engine = redis_url.parse(told.redis).kind.value
        self._prefix = told.prefix
        self._keys = Keys(told.prefix)

    async def read_status(self) -> Status:
        """Return the current state of the relay. Servers and nodes that can't be read are marked so.

        Raises Unavailable if no server can be reached.
        """
        servers = tuple(_servers(await self.redis_client.servers()))
        if servers and all(server.trouble for server in servers):
            raise Unavailable(servers[0].trouble)
        nodes, trouble = [], ""
        try:
            nodes = await self.nodes()
        except Unavailable as error:
            trouble = str(error)
        return Status(self._prefix, self._engine, tuple(nodes), servers, trouble)

    async def nodes(self) -> list[Node]:
        """Return the nodes with a recent report. Raises Unavailable."""
        reports = {
            node_id: report for node_id, report in (await read(self.redis_client, self._keys.nodes)).items() if report
        }
        leases = await self.redis_client.each(("PTTL", self._keys.lease(node_id)) for node_id in reports)
        nodes = [_node(node_id, report, ttl) for (node_id, report), ttl in zip(reports.items(), leases, strict=True)]
        return sorted(_once(nodes), key=lambda node: (node.report.name, node.node_id))


def _once(nodes: list[Node]) -> list[Node]:
    """Return the nodes without dead ones whose name a later node has: a node that was restarted is one node.

    Each process has its own node id, and its last report stays for an hour. The later one is the one whose lease was
    renewed later; the times of reports are those of different clocks.
    """
    last: dict[str, Node] = {}
    for node in sorted(nodes, key=lambda node: (node.lives or node.unknown, -inf if node.left is None else node.left)):
        last[node.report.name] = node
    return [node for node in nodes if node.lives or node.unknown or last[node.report.name] is node]


def _node(node_id: str, report: Report, ttl: Any) -> Node:
    if isinstance(ttl, Unavailable):
        return Node(node_id, report, None, unknown=True)
    return Node(node_id, report, None if ttl < 0 else round(ttl / 1000 - TAIL_SECONDS, 3))


def _servers(infos: Mapping[str, Mapping[str, Any] | Unavailable]) -> Iterable[Server]:
    for address, info in sorted(infos.items()):
        if isinstance(info, Unavailable):
            yield Server(address, "away", "-", 0, 0, "unknown", (), trouble=str(info))
            continue
        valkey = info.get("valkey_version")
        yield Server(
            address=address,
            role=str(info.get("role", "unknown")),
            version=f"Valkey {valkey}" if valkey else f"Redis {info.get('redis_version', 'unknown')}",
            memory=int(info.get("used_memory", 0)),
            clients=int(info.get("connected_clients", 0)),
            policy=str(info.get("maxmemory_policy", "unknown")),
            replicas=tuple(_replicas(info)),
        )


def _replicas(info: Mapping[str, Any]) -> Iterable[str]:
    for number in range(int(info.get("connected_slaves", 0))):
        replica = info.get(f"slave{number}")
        if isinstance(replica, dict):
            yield f"{replica.get('ip')}:{replica.get('port')} {replica.get('state')}"


async def once(told: Config) -> Status:
    """Return the current state. Raises StartError if Redis can't be reached."""
    async with asking(told) as gatherer:
        return await gatherer.read_status()


@asynccontextmanager
async def asking(told: Config) -> AsyncIterator[Gatherer]:
    """Yield a Gatherer that works while the block lasts.

    Raises StartError for errors that don't pass by themselves, and if the block raises Unavailable.
    """
    gatherer = Gatherer(told)
    try:
        with one_start_error():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(gatherer.redis_client.run)
                with suppress(Unavailable):  # the block's own requests will raise it
                    await gatherer.redis_client.check()
                yield gatherer
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:  # some Pythons would wrap an exception raised in an `except*` in a group again
        unavailable = group.subgroup(Unavailable)
        if unavailable is None:
            raise
        raise StartError(f"Redis can't be asked at {redact(told.redis or '')}: {first_error(unavailable)}") from None
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(1):
            await gatherer.redis_client.aclose()
