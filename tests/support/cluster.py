"""A real Redis Cluster of three primaries, each with a replica if a test wants them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from redis.crc import key_slot

from relay.tools.testbed import topology_setup
from relay.tools.testbed.process import HOST, free_port
from relay.tools.testbed.redis_kind import NODE_TIMEOUT
from relay.tools.testbed.topology_setup import PRIMARIES, Member
from tests.support.process import wait_until
from tests.support.server import RedisServer

PATIENCE = 30.0  # seconds for all servers to know each other, and for a failover
KEYS_AT_ONCE = 100  # keys of a moving slot in each migration


class RedisCluster:
    """A cluster whose primaries share the slots evenly. It is created once all servers report a complete cluster."""

    def __init__(
        self,
        folder: Path,
        *,
        replicas: bool = False,
        options: Sequence[str] = (),
        node_timeout: float = NODE_TIMEOUT,
        primaries: int = PRIMARIES,
    ) -> None:
        buses = [free_port() for _ in range(2 * primaries if replicas else primaries)]
        patience = ("--cluster-node-timeout", str(round(node_timeout * 1000)))
        self.servers = [
            RedisServer(folder / f"server{n}", [*options, *topology_setup.cluster_options(bus), *patience])
            for n, bus in enumerate(buses)
        ]
        self.clients = [server.client() for server in self.servers]
        members = zip(self.clients, self.servers, buses, strict=True)
        formed = [Member(client, server.port, bus) for client, server, bus in members]
        for what, true in topology_setup.form_cluster(formed, primaries):
            wait_until(true, what, PATIENCE)

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"{HOST}:{server.port}" for server in self.servers[:2])

    def home(self, name: str) -> RedisServer:
        """Return the primary that serves a key or channel, as a reachable server sees it."""
        return self.serving(key_slot(name.encode()))

    def serving(self, slot: int, unless: RedisServer | None = None) -> RedisServer:
        """Return the primary that serves a slot, as a reachable server other than `unless` sees it."""
        port = next(port for first, last, port in self._rows(unless) if first <= slot <= last)
        return next(server for server in self.servers if server.port == port)

    def slots(self, server: RedisServer) -> Iterator[int]:
        """Yield the slots that a server serves, as a reachable server sees it."""
        return (slot for first, last, port in self._rows() if port == server.port for slot in range(first, last + 1))

    def _rows(self, unless: RedisServer | None = None) -> list[tuple[int, int, int]]:
        """Return the ranges of slots, each with the port of its primary."""
        pairs = [pair for pair in zip(self.servers, self.clients, strict=True) if pair[0] is not unless]
        asked = next(client for server, client in pairs if server.process.alive and not server.process.paused)
        rows: Any = asked.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
        return [(first, last, primary[1]) for first, last, primary, *_ in rows]

    def move(self, name: str, to: RedisServer) -> None:
        """Move the slot of a key or channel, with all its keys, to another primary while it is in use."""
        slot, old = key_slot(name.encode()), self.home(name)
        source, target = self.clients[self.servers.index(old)], self.clients[self.servers.index(to)]
        source_id, target_id = source.cluster("MYID"), target.cluster("MYID")
        target.cluster("SETSLOT", slot, "IMPORTING", source_id)
        source.cluster("SETSLOT", slot, "MIGRATING", target_id)
        while keys := source.cluster("GETKEYSINSLOT", slot, KEYS_AT_ONCE):
            source.migrate(HOST, to.port, keys, 0, 5000)
        for client in (target, source):
            client.cluster("SETSLOT", slot, "NODE", target_id)

    def holding(self, pattern: str) -> set[RedisServer]:
        """Return the primaries that hold a key, or have a subscriber of a channel, that matches the pattern."""
        found = set()
        for server, client in zip(self.servers[:PRIMARIES], self.clients, strict=False):
            heard = client.execute_command("PUBSUB", "SHARDCHANNELS", pattern)  # type: ignore[no-untyped-call]
            if heard or client.keys(pattern):
                found.add(server)
        return found

    def isolate(self, server: RedisServer) -> None:
        """Cut a server off from all other servers, but not from its clients. It needs enabled debug commands."""
        client = self.clients[self.servers.index(server)]
        for words in ("DISABLE-CLUSTER-RECONNECTION 1", "DROP-CLUSTER-PACKET-FILTER -2"):
            client.execute_command("DEBUG", *words.split())  # type: ignore[no-untyped-call]
        lines: str = client.execute_command("CLUSTER", "NODES")  # type: ignore[no-untyped-call]
        for line in lines.splitlines():
            if "myself" not in line:
                client.execute_command("DEBUG", "CLUSTERLINK", "KILL", "ALL", line.split()[0])  # type: ignore[no-untyped-call]

    def check_no_key_stays(self) -> None:
        """Check that every key of every server has a TTL."""
        for server in self.servers:
            server.check_no_key_stays()

    def stop(self) -> None:
        for server in self.servers:
            server.process.resume()
            server.stop()
