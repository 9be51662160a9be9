"""A primary, two replicas and three sentinels that monitor them, all of them real processes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import redis

from relay.tools.testbed import topology_setup
from relay.tools.testbed.process import HOST, free_port
from relay.tools.testbed.topology_setup import QUORUM, SERVICE
from tests.support.process import Process, wait_until
from tests.support.server import SECOND_ATTEMPT, RedisServer, server_binary

PATIENCE = 30.0  # seconds for all processes to know each other, and for a failover


class Sentinel:
    """One sentinel."""

    def __init__(self, folder: Path, primary: int) -> None:
        self.port = free_port()
        folder.mkdir(parents=True)
        settings = folder / "sentinel.conf"  # the sentinel writes its state into this file
        settings.write_text(topology_setup.sentinel_settings(folder, self.port, primary))
        self.process = Process([server_binary(), str(settings), "--sentinel"], folder / "sentinel.log")
        self.process.wait_for_line("Sentinel ID is")
        self._client: Any = redis.Redis(host=HOST, port=self.port, decode_responses=True, retry=SECOND_ATTEMPT)

    @property
    def primary(self) -> int:
        """The port of the server that this sentinel reports as the primary."""
        return topology_setup.named(self._client)

    @property
    def knows_all(self) -> bool:
        return topology_setup.knows_all(self._client, 2)

    def point_to(self, port: int) -> None:
        """Make the sentinel monitor another primary, without changing the old one."""
        self._client.sentinel_remove(SERVICE)
        self._client.sentinel_monitor(SERVICE, HOST, port, QUORUM)

    def stop(self) -> None:
        self._client.close()
        self.process.kill()


class SentinelSet:
    """All six processes. It is created once they know each other, so that a failover is possible."""

    def __init__(
        self, folder: Path, options: Sequence[str] = (), front: Callable[[int], int] = lambda port: port
    ) -> None:
        """Start all. `front` maps a server's own port to the port by which all others reach it, such as a proxy's."""
        options = [*options, *topology_setup.OPTIONS]
        self.servers = [RedisServer(folder / f"server{n}", options) for n in range(3)]
        self.ports = [front(server.port) for server in self.servers]
        for server, port in zip(self.servers, self.ports, strict=True):
            client = server.client()
            client.config_set("replica-announce-port", port)
            if server is not self.servers[0]:
                client.replicaof(HOST, str(self.ports[0]))
                wait_until(lambda c=client: topology_setup.replicates(c), "a replica is in step", PATIENCE)  # type: ignore[misc]
        self.sentinels = [Sentinel(folder / f"sentinel{n}", self.ports[0]) for n in range(3)]
        for sentinel in self.sentinels:
            wait_until(lambda s=sentinel: s.knows_all, "a sentinel knows all others", PATIENCE)  # type: ignore[misc]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'{HOST}:{sentinel.port}' for sentinel in self.sentinels)}/{SERVICE}"

    @property
    def primary(self) -> RedisServer | None:
        """The server that all sentinels report as the primary, or None while they disagree."""
        named = {sentinel.primary for sentinel in self.sentinels}
        pairs = zip(self.servers, self.ports, strict=True)
        return next((server for server, port in pairs if {port} == named), None)

    def stop(self) -> None:
        for sentinel in self.sentinels:
            sentinel.stop()
        for server in self.servers:
            server.process.resume()
            server.stop()
