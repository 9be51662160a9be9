"""The cluster under test: servers, nodes, and with a single server a proxy for each node. All of it can be broken."""

import os
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
from redis.exceptions import RedisError

from relay.configuration.config import StartError
from relay.observe.status_report import decode
from relay.redis_client.keys import Keys
from relay.tools.testbed import redis_servers
from relay.tools.testbed.certificates import Certificate
from relay.tools.testbed.process import HOST, START_SECONDS, Process, free_port
from relay.tools.testbed.redis_kind import RedisKind
from relay.tools.testbed.redis_servers import Cluster, Server, Servers
from relay.tools.testbed.waiting import until
from relay.tools.torture.redis_proxy import RedisProxy
from relay.tools.torture.run_settings import DRAIN, GRACE, LEASE, NODE

PREFIX: Final = "relay"  # the prefix of all keys in Redis
_LISTENING: Final = re.compile(rb" listening .*\baddress=\S+:(\d+)")
_RSS: Final = re.compile(r"VmRSS:\s+(\d+) kB")


class Node(Process):
    """One node, which keeps its port over all restarts."""

    def __init__(
        self, number: int, command: Sequence[str], folder: Path, redis: str, certificate: Certificate | None
    ) -> None:
        self.number = number
        self.port = free_port()
        self.began = 0.0  # the Unix time of its last start
        self.wanted = True  # the nemesis isn't breaking it at the moment
        self.log = folder / f"node{number}.log"
        options = {"--port": self.port, "--name": f"t{number}", "--lease": LEASE, "--grace": GRACE, "--drain": DRAIN}
        words = [word for option, value in options.items() for word in (option, str(value))]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RELAY_")}
        environment["RELAY_REDIS_URL"] = redis
        if certificate is not None:
            environment["RELAY_TLS_CERT"], environment["RELAY_TLS_KEY"] = map(str, certificate)
        super().__init__([*command, *words], self.log, environment)

    async def listen(self) -> None:
        """Start the node and wait until it accepts connections. Raises StartError."""
        known = self.log.stat().st_size if self.log.exists() else 0
        self.began = time.time()
        self.start()

        def listening() -> bool:
            return _LISTENING.search(self.log.read_bytes()[known:]) is not None

        await until(lambda: listening() or not self.alive, START_SECONDS)
        if not listening():
            raise StartError(f"node {self.number} doesn't start (status {self.status}); see {self.log}")

    @property
    def memory(self) -> int:
        """Resident memory in bytes, or 0 if it can't be read."""
        with suppress(OSError):
            found = _RSS.search(Path(f"/proc/{self.pid}/status").read_text())
            return int(found[1]) * 1024 if found else 0
        return 0


class Lab:
    """The servers, proxies and nodes of a run. A standalone lab has a proxy for each node, others have none."""

    def __init__(self, servers: Servers, nodes: list[Node], proxies: list[RedisProxy]) -> None:
        self.servers = servers
        self.nodes = nodes
        self.proxies = proxies

    @property
    def server(self) -> Server:
        """The current server of a standalone lab."""
        (server,) = self.servers.members
        return server

    @property
    def cluster(self) -> Cluster:
        """The servers of a lab with a cluster."""
        assert isinstance(self.servers, Cluster)
        return self.servers

    async def node_ids(self) -> dict[int, str]:
        """Return the current node id of each living node that has written a report."""
        found: dict[int, str] = {}
        for server in await self.servers.primaries():
            with suppress(RedisError, OSError):
                for node_id, raw in (await server.client.hgetall(Keys(PREFIX).nodes)).items():
                    report = decode(raw)
                    number = int(report.name[1:]) if report is not None else 0
                    if report is not None and report.at - report.up > self.nodes[number].began - START_SECONDS:
                        found[number] = node_id.decode()
        return found

    def address(self, node: int) -> tuple[str, int]:
        """Return a node's address for clients."""
        return HOST, self.nodes[node].port

    async def keys_without_ttl(self) -> list[str]:
        """Return every key without a TTL. Raises StartError if the servers don't work together again in time."""
        await self.servers.until_ready()  # a former primary may still consider itself as one
        found = []
        for server in await self.servers.primaries():
            client = server.client
            found += [key.decode() async for key in client.scan_iter(count=1000) if await client.ttl(key) == -1]
        return found


@asynccontextmanager
async def build(
    folder: Path,
    count: int,
    command: Sequence[str] = NODE,
    engine: RedisKind = RedisKind.STANDALONE,
    certificate: Certificate | None = None,
) -> AsyncIterator[Lab]:
    """Run a cluster of `count` nodes with its files in a folder. `command` starts a node, without its options.

    Raises StartError.
    """
    data = redis_servers.make(engine, folder)
    async with anyio.create_task_group() as tasks:
        nodes: list[Node] = []
        try:
            await data.start(tasks)
            proxies = [
                RedisProxy((HOST, data.members[0].port)) for _ in range(count if engine is RedisKind.STANDALONE else 0)
            ]
            for proxy in proxies:
                await tasks.start(proxy.run)
            urls = [f"redis://{HOST}:{proxy.port}" for proxy in proxies] or [data.url] * count
            nodes += [Node(number, command, folder, url, certificate) for number, url in enumerate(urls)]
            async with anyio.create_task_group() as starting:
                for node in nodes:
                    starting.start_soon(node.listen)
            yield Lab(data, nodes, proxies)
        finally:
            with anyio.CancelScope(shield=True):
                for node in nodes:
                    await node.end()
                await data.end()
            tasks.cancel_scope.cancel()
