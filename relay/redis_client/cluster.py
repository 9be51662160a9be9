"""Redis Cluster: several primaries, each with a share of the keys and of the channels."""

from collections.abc import Sequence
from typing import Any, Final

import redis.exceptions
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection

from relay.config import cluster_hosts
from relay.redis_client.dialing import connected, options
from relay.redis_client.topology import SECTIONS

# What tells that a node of a cluster may not be where it was.
_BROKEN: Final = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)


class Cluster:
    """Several primaries, each with a share of the keys and of the channels."""

    sharded = True

    def __init__(self, url: str) -> None:
        hosts, username, password = cluster_hosts(url)
        nodes = [ClusterNode(host, port) for host, port in hosts]
        self.client: Any = RedisCluster(startup_nodes=nodes, username=username, password=password, **options())

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
        return await connected(node.connection_class(**node.connection_kwargs))

    async def look(self) -> None:
        await self.client.nodes_manager.initialize()

    def current(self, connection: Connection) -> bool:
        return True

    async def aclose(self) -> None:
        await self.client.aclose()
