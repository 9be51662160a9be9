"""The cluster under test: servers, a proxy for each node where there can be one, and nodes; all can be broken."""

import os
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
from redis.exceptions import RedisError

from relay.config import StartError
from relay.observe.status_report import decode
from relay.redis_client.keys import Keys
from relay.tools.testbed import servers
from relay.tools.testbed.certificates import Certificate
from relay.tools.testbed.engine import Engine
from relay.tools.testbed.process import HOST, START_SECONDS, Process, free_port
from relay.tools.testbed.servers import Cluster, Server, Servers
from relay.tools.testbed.waiting import until
from relay.tools.torture.plan import DRAIN, GRACE, LEASE, NODE
from relay.tools.torture.proxy import Proxy

PREFIX: Final = "relay"  # of all that nodes keep in Redis
_LISTENING: Final = re.compile(rb" listening .*\baddress=\S+:(\d+)")
_RSS: Final = re.compile(r"VmRSS:\s+(\d+) kB")


class Node(Process):
    """One node. It keeps its port through all its lives."""

    def __init__(
        self, number: int, command: Sequence[str], folder: Path, redis: str, certificate: Certificate | None
    ) -> None:
        self.number = number
        self.port = free_port()
        self.began = 0.0  # when it was last started, as time of day
        self.wanted = True  # to be there, as far as the nemesis is concerned
        self.log = folder / f"node{number}.log"
        options = {"--port": self.port, "--name": f"t{number}", "--lease": LEASE, "--grace": GRACE, "--drain": DRAIN}
        words = [word for option, value in options.items() for word in (option, str(value))]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RELAY_")}
        environment["RELAY_REDIS_URL"] = redis
        if certificate is not None:
            environment["RELAY_TLS_CERT"], environment["RELAY_TLS_KEY"] = map(str, certificate)
        super().__init__([*command, *words], self.log, environment)

    async def listen(self) -> None:
        """Start it and wait until it accepts connections. Raises StartError."""
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
        """Resident bytes; 0 where that can't be read."""
        with suppress(OSError):
            found = _RSS.search(Path(f"/proc/{self.pid}/status").read_text())
            return int(found[1]) * 1024 if found else 0
        return 0


class Lab:
    """Servers, proxies and nodes together. `proxies`: one for each node of a standalone lab, else none."""

    def __init__(self, servers: Servers, nodes: list[Node], proxies: list[Proxy]) -> None:
        self.servers = servers
        self.nodes = nodes
        self.proxies = proxies

    @property
    def server(self) -> Server:
        """The one that serves, in a standalone lab."""
        (server,) = self.servers.members
        return server

    @property
    def cluster(self) -> Cluster:
        """The servers of a lab with a cluster."""
        assert isinstance(self.servers, Cluster)
        return self.servers

    async def node_ids(self) -> dict[int, str]:
        """How each node that lives calls itself this time, as far as it has said so."""
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
        """Where clients reach a node."""
        return HOST, self.nodes[node].port

    async def keys_without_ttl(self) -> list[str]:
        """Every key that would stay for ever. Raises StartError if the servers don't come to work together again."""
        await self.servers.settle()  # one that was a primary may take itself for one yet
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
    engine: Engine = Engine.STANDALONE,
    certificate: Certificate | None = None,
) -> AsyncIterator[Lab]:
    """A cluster of so many nodes in a folder, serving. `command`: how a node is started, without options."""
    data = servers.make(engine, folder)
    async with anyio.create_task_group() as tasks:
        nodes: list[Node] = []
        try:
            await data.start(tasks)
            proxies = [Proxy((HOST, data.members[0].port)) for _ in range(count if engine is Engine.STANDALONE else 0)]
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
