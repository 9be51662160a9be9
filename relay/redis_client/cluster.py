"""Redis Cluster: several primaries, each with a share of the keys and of the channels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import redis.exceptions
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from relay.redis_client.dialing import Connection, Dialer
from relay.redis_client.latency import SLACK_SECONDS
from relay.redis_client.topology import SECTIONS
from relay.redis_url import RedisUrl

_OPTIONS: Final[dict[str, Any]] = {
    "socket_timeout": SLACK_SECONDS,
    "socket_connect_timeout": SLACK_SECONDS,
    "retry": Retry(NoBackoff(), 0),  # a command that was sent twice could be carried out twice
    "protocol": 2,
}
# What tells that a node of a cluster may not be where it was.
_BROKEN: Final = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)


class Cluster:
    """Several primaries, each with a share of the keys and of the channels."""

    sharded = True

    def __init__(self, url: RedisUrl, password_file: Path | None = None) -> None:
        """Raises ConfigError where a file can't be used."""
        self._dialer = Dialer(url.login, url.tls, password_file=password_file)
        nodes = [ClusterNode(host, port) for host, port in url.hosts]
        login = self._dialer.login
        self.client: Any = RedisCluster(
            startup_nodes=nodes, username=login.username, password=login.password, **_OPTIONS
        )

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
        return await self._dialer.dial(node.host, node.port)

    def renew(self) -> None:
        self._dialer.renew()

    async def look(self) -> None:
        await self.client.nodes_manager.initialize()

    def current(self, connection: Connection) -> bool:
        return True

    async def aclose(self) -> None:
        await self.client.aclose()
