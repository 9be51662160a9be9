"""Everything that Redis knows of a relay: the nodes' reports, their leases, and the servers themselves."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec

from relay.config import Config, StartError, first_error, one_start_error, redact
from relay.directory.lease import TAIL_SECONDS
from relay.redis_client.client import Store, Unavailable
from relay.redis_client.keys import Keys
from relay.status.publish import read
from relay.status.report import Report


class Node(msgspec.Struct, frozen=True):
    """A node as it says that it is, and what its lease says."""

    uid: str
    report: Report
    left: float | None  # seconds for which its lease still holds, negative once it has lapsed; None: there is none

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


class Status(msgspec.Struct, frozen=True):
    """A relay at one moment."""

    prefix: str
    engine: str  # standalone, sentinel or cluster
    nodes: tuple[Node, ...]
    servers: tuple[Server, ...]

    @property
    def living(self) -> list[Node]:
        """The nodes whose lease holds."""
        return [node for node in self.nodes if node.lives]

    def total(self, field: str) -> float:
        """A number of all living nodes together."""
        return float(sum(getattr(node.report, field) for node in self.living))

    @property
    def pairs(self) -> int:
        """Chats. Nodes count their users at different moments, so it may be one off."""
        return round(self.total("chatting") / 2)


class Gatherer:
    """Asks one Redis about one relay. `run` has to run meanwhile. It writes nothing."""

    def __init__(self, told: Config) -> None:
        """`told` says which relay is meant. Raises ConfigError where a file that connections need can't be used."""
        assert told.redis is not None
        self.store = Store(told.redis, password_file=told.redis_password_file)
        self._url = told.redis
        self._prefix = told.prefix
        self._keys = Keys(told.prefix)

    async def look(self) -> Status:
        """The relay as it is now. Raises Unavailable, and StartError for what will not pass by itself."""
        await self.store.check()
        reports = {uid: report for uid, report in (await read(self.store, self._keys.nodes)).items() if report}
        leases = await self.store.calls(("PTTL", self._keys.lease(uid)) for uid in reports)
        nodes = [
            Node(uid, report, None if ttl < 0 else round(ttl / 1000 - TAIL_SECONDS, 3))
            for (uid, report), ttl in zip(reports.items(), leases, strict=True)
        ]
        nodes.sort(key=lambda node: (node.report.name, node.uid))
        return Status(self._prefix, _engine(self._url), tuple(nodes), tuple(_servers(await self.store.servers())))


def _engine(url: str) -> str:
    scheme = url.partition("://")[0].partition("+")[2]
    return scheme or "standalone"


def _servers(infos: Mapping[str, Mapping[str, Any]]) -> Iterable[Server]:
    for address, info in sorted(infos.items()):
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
    """One look. Raises StartError where Redis can't be asked."""
    async with asking(told) as gatherer:
        return await gatherer.look()


@asynccontextmanager
async def asking(told: Config) -> AsyncIterator[Gatherer]:
    """Somebody to ask, for as long as the block lasts. Raises StartError also where the block raises Unavailable."""
    gatherer = Gatherer(told)
    try:
        with one_start_error():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(gatherer.store.run)
                yield gatherer
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:  # what is raised in an `except*` some Pythons wrap in a group again
        unavailable = group.subgroup(Unavailable)
        if unavailable is None:
            raise
        raise StartError(f"Redis can't be asked at {redact(told.redis or '')}: {first_error(unavailable)}") from None
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(1):
            await gatherer.store.aclose()
