"""Which server is asked, and where it is now: one server, the primary that sentinels name, or a cluster."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import redis.exceptions
from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from relay.config import cluster_hosts, sentinel_address
from relay.directory.line import Line

# A connection that is silent for so long is given up; the rest of a call's time is for another try on a new one.
SOCKET_SECONDS: Final = 0.6
# A sentinel that doesn't answer within this is passed over: two frozen ones leave time for the third, and its server.
SENTINEL_SECONDS: Final = 0.25

# What is shown of a server.
SECTIONS: Final = ("server", "replication", "memory", "clients")

# What tells that a node of a cluster may not be where it was.
_BROKEN: Final = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)


class Engine(Protocol):
    """Makes pipelines and connections that lead to where the data is at that moment. Raises what redis-py raises."""

    client: Any
    sharded: bool  # pub/sub; then `connect` takes the home of a channel

    async def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Have commands carried out in one pipeline, without a transaction. Refusals are exceptions among the results.

        Not to be called again before it has ended.
        """

    async def infos(self, section: str) -> list[dict[str, Any]]:
        """A section of INFO, of each server that holds data."""

    async def servers(self) -> dict[str, dict[str, Any]]:
        """What SECTIONS of INFO say, of each server that holds data, by its address."""

    def home(self, name: str) -> str | None:
        """The server that serves a key or channel; None while none does."""

    async def connect(self, home: str) -> Connection:
        """A new connection, set up and idle, to a server for pub/sub. The caller disconnects it."""

    async def look(self) -> None:
        """Find out where things are now."""

    def current(self, connection: Connection) -> bool:
        """Whether, as far as is known, this connection still leads to where `connect` would."""

    async def aclose(self) -> None:
        """Close all connections but those from `connect`."""


def engine(url: str) -> Engine:
    """The engine that a URL stands for."""
    match urlsplit(url).scheme:
        case "redis+cluster":
            return _Cluster(url)
        case "redis+sentinel":
            return _Sentinels(url)
        case _:
            client = Redis.from_url(url, **_options())
            pool: Any = client.connection_pool
            if issubclass(pool.connection_class, SSLConnection):
                pool.connection_class = type("_Tls", (_Tls,), {"contexts": []})
                with suppress(OSError):  # a file that isn't there: whoever connects says so
                    pool.make_connection().ssl_context.get()
            return _Server(client)


def _options(seconds: float = SOCKET_SECONDS) -> dict[str, Any]:
    return {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),  # a command that was sent twice could be carried out twice
        "protocol": 2,
    }


async def _connected(connection: Any) -> Connection:
    await connection.connect()
    return connection  # type: ignore[no-any-return]


class _Tls(SSLConnection):
    """A connection with the TLS context of the first one to the same server.

    redis-py makes a new one for each, and reads every certificate that the system trusts: 45 ms of processor time in
    which a node does nothing else, and of the time that a connection may take to stand (SOCKET_SECONDS). On a machine
    with little of it none ever stood.
    """

    contexts: list[Any]  # one; of each server

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not self.contexts:
            self.contexts.append(self.ssl_context)
        self.ssl_context = self.contexts[0]


class _Server:
    """One server at a fixed address."""

    sharded = False

    def __init__(self, client: Any) -> None:
        self.client = client
        self._line = Line(lambda: self.connect(""), self.current, SOCKET_SECONDS)
        self._forms = dict(client.response_callbacks)  # what redis-py makes of the answers to some commands

    async def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        answers = await self._line.ask(commands)
        return [self._formed(command[0], answer) for command, answer in zip(commands, answers, strict=True)]

    def _formed(self, command: str, answer: Any) -> Any:
        form = self._forms.get(command)
        return answer if form is None or isinstance(answer, Exception) else form(answer)

    async def infos(self, section: str) -> list[dict[str, Any]]:
        return [await self.client.info(section)]

    async def servers(self) -> dict[str, dict[str, Any]]:
        info = await self.client.info(*SECTIONS)
        return {await self._address(): info}

    async def _address(self) -> str:
        place = self.client.connection_pool.connection_kwargs
        return str(place["path"]) if "path" in place else f"{place.get('host')}:{place.get('port')}"

    def home(self, name: str) -> str | None:
        return ""

    async def connect(self, home: str) -> Connection:
        return await _connected(self.client.connection_pool.make_connection())

    async def look(self) -> None:
        pass

    def current(self, connection: Connection) -> bool:
        return True

    async def aclose(self) -> None:
        await self._line.aclose()
        await self.client.aclose()


class _Sentinels(_Server):
    """The primary of a service: sentinels are asked for each new connection, and whenever `look` is called."""

    def __init__(self, url: str) -> None:
        address = sentinel_address(url)
        guards = {"username": address.sentinel_username, "password": address.sentinel_password}
        self._sentinel = Sentinel(  # type: ignore[no-untyped-call]
            address.hosts, sentinel_kwargs={**_options(SENTINEL_SECONDS), **guards}, **_options()
        )
        super().__init__(
            self._sentinel.master_for(
                address.service, db=address.database, username=address.username, password=address.password
            )
        )

    async def connect(self, home: str) -> Connection:
        """A sentinel may not have heard yet of a failover, and what is published at a replica reaches nobody."""
        connection = await super().connect(home)
        try:
            await connection.send_command("ROLE")
            role = await connection.read_response()
        except redis.exceptions.NoPermissionError:
            return connection
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        if role[0] not in (b"master", "master"):
            await connection.disconnect(nowait=True)
            raise redis.exceptions.ConnectionError(f"{connection.host}:{connection.port} is not the primary")
        return connection

    async def _address(self) -> str:
        host, port = await self.client.connection_pool.get_master_address()
        return f"{host}:{port}"

    async def look(self) -> None:
        """Where there is a new primary, the pool drops its connections to the old one."""
        await self.client.connection_pool.get_master_address()

    def current(self, connection: Connection) -> bool:
        return bool((connection.host, connection.port) == self.client.connection_pool.master_address)

    async def aclose(self) -> None:
        await super().aclose()
        await self._sentinel.aclose()


class _Cluster:
    """Several primaries, each with a share of the keys and of the channels."""

    sharded = True

    def __init__(self, url: str) -> None:
        hosts, username, password = cluster_hosts(url)
        nodes = [ClusterNode(host, port) for host, port in hosts]
        self.client: Any = RedisCluster(startup_nodes=nodes, username=username, password=password, **_options())

    async def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        pipe = self.client.pipeline()
        for command in commands:
            pipe.execute_command(*command)
        results: list[Any] = await pipe.execute(raise_on_error=False)
        if any(isinstance(result, _BROKEN) for result in results):
            await self.client.aclose()  # the next use learns the topology anew: a replica may have been promoted
        return results

    async def infos(self, section: str) -> list[dict[str, Any]]:
        return list((await self._info(section)).values())

    async def servers(self) -> dict[str, dict[str, Any]]:
        return await self._info(*SECTIONS)

    async def _info(self, *sections: str) -> dict[str, dict[str, Any]]:
        """One after the other: what redis-py returns for all of them looks different where there is only one."""
        await self.client.initialize()
        return {node.name: await self.client.info(*sections, target_nodes=node) for node in self.client.get_primaries()}

    def home(self, name: str) -> str | None:
        try:
            return str(self.client.nodes_manager.get_node_from_slot(self.client.keyslot(name)).name)
        except (redis.exceptions.SlotNotCoveredError, KeyError):
            return None

    async def connect(self, home: str) -> Connection:
        node = self.client.nodes_manager.nodes_cache.get(home)
        if node is None:
            raise redis.exceptions.ConnectionError(f"{home} is no part of the cluster")
        return await _connected(node.connection_class(**node.connection_kwargs))

    async def look(self) -> None:
        await self.client.nodes_manager.initialize()

    def current(self, connection: Connection) -> bool:
        return True

    async def aclose(self) -> None:
        await self.client.aclose()
