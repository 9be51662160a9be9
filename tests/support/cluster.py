"""A real Redis Cluster of three primaries, with a replica for each where a test wants them."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

from tests.support.process import wait_until
from tests.support.server import HOST, RedisServer, free_port

SLOTS = 16384  # Redis Cluster's own number
PRIMARIES = 3
NODE_TIMEOUT = 2.0  # seconds of silence after which a primary counts as failed
PATIENCE = 30.0  # seconds; for all to know each other, and for a failover
KEYS_AT_ONCE = 100  # of a slot that moves


class RedisCluster:
    """Primaries that share the slots evenly; returns when all servers call the cluster whole."""

    def __init__(self, folder: Path, *, replicas: bool = False, options: Sequence[str] = ()) -> None:
        options = [*options, "--cluster-enabled", "yes", "--cluster-node-timeout", str(round(NODE_TIMEOUT * 1000))]
        options += ["--repl-diskless-sync-delay", "0"]
        self.servers = [
            RedisServer(folder / f"server{n}", [*options, "--cluster-port", str(free_port())])
            for n in range(2 * PRIMARIES if replicas else PRIMARIES)
        ]
        self.clients = [server.client() for server in self.servers]
        share = SLOTS // PRIMARIES
        bounds = [*range(0, SLOTS - share, share), SLOTS]
        for client, (first, end) in zip(self.clients[:PRIMARIES], pairwise(bounds), strict=True):
            client.cluster("ADDSLOTSRANGE", first, end - 1)
        for server in self.servers[1:]:
            bus_port = server.options[server.options.index("--cluster-port") + 1]
            self.clients[0].cluster("MEET", HOST, server.port, bus_port)
        self._wait_until_whole()
        for primary, replica in zip(self.clients, self.clients[PRIMARIES:], strict=False):
            replica.cluster("REPLICATE", primary.cluster("MYID"))
            wait_until(lambda c=replica: _in_step(c), "a replica is in step", PATIENCE)  # type: ignore[misc]
        self._wait_until_whole()

    def _wait_until_whole(self) -> None:
        for client in self.clients:
            wait_until(lambda c=client: self._whole(c), "all servers know all slots", PATIENCE)  # type: ignore[misc]

    def _whole(self, client: redis.Redis) -> bool:
        info = client.cluster("INFO")
        assert isinstance(info, dict)
        return (info["cluster_state"], info["cluster_known_nodes"]) == ("ok", str(len(self.servers)))

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


def _in_step(client: redis.Redis) -> bool:
    info = client.info("replication")
    assert isinstance(info, dict)
    return (info["role"], info.get("master_link_status")) == ("slave", "up")
