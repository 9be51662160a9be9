"""A real Redis Cluster of three primaries, with a replica for each where a test wants them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.crc import key_slot

from relay.torture import topology
from relay.torture.process import HOST, free_port
from relay.torture.topology import PRIMARIES, Member
from tests.support.process import wait_until
from tests.support.server import RedisServer

PATIENCE = 30.0  # seconds; for all to know each other, and for a failover
KEYS_AT_ONCE = 100  # of a slot that moves


class RedisCluster:
    """Primaries that share the slots evenly; returns when all servers call the cluster whole."""

    def __init__(self, folder: Path, *, replicas: bool = False, options: Sequence[str] = ()) -> None:
        buses = [free_port() for _ in range(2 * PRIMARIES if replicas else PRIMARIES)]
        self.servers = [
            RedisServer(folder / f"server{n}", [*options, *topology.cluster_options(bus)])
            for n, bus in enumerate(buses)
        ]
        self.clients = [server.client() for server in self.servers]
        members = zip(self.clients, self.servers, buses, strict=True)
        for what, true in topology.form_cluster([Member(client, server.port, bus) for client, server, bus in members]):
            wait_until(true, what, PATIENCE)

    @property
    def url(self) -> str:
        return f"redis+cluster://{HOST}:{self.servers[0].port},{HOST}:{self.servers[1].port}"

    def home(self, name: str) -> RedisServer:
        """The primary that serves a key or channel, as those who can be asked see it."""
        slot = key_slot(name.encode())
        pairs = zip(self.servers, self.clients, strict=True)
        asked = next(client for server, client in pairs if server.process.alive and not server.process.paused)
        rows: Any = asked.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
        port = next(primary[1] for first, last, primary, *_ in rows if first <= slot <= last)
        return next(server for server in self.servers if server.port == port)

    def move(self, name: str, to: RedisServer) -> None:
        """Give the slot of a key or channel to another primary, with all that is in it, while it's in use."""
        slot, old = key_slot(name.encode()), self.home(name)
        source, target = self.clients[self.servers.index(old)], self.clients[self.servers.index(to)]
        source_id, target_id = source.cluster("MYID"), target.cluster("MYID")
        target.cluster("SETSLOT", slot, "IMPORTING", source_id)
        source.cluster("SETSLOT", slot, "MIGRATING", target_id)
        while keys := source.cluster("GETKEYSINSLOT", slot, KEYS_AT_ONCE):
            source.migrate(HOST, to.port, keys, 0, 5000)
        for client in (target, source):
            client.cluster("SETSLOT", slot, "NODE", target_id)

    def check_no_key_stays(self) -> None:
        """Every key of every server has a TTL."""
        for server in self.servers:
            server.check_no_key_stays()

    def stop(self) -> None:
        for server in self.servers:
            server.process.resume()
            server.stop()
