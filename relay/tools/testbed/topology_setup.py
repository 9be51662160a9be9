"""Forms sentinels and clusters of running servers, for `relay torture` and for the tests.

The caller waits for the conditions in its own way. All functions block until a server has answered.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import redis
from msgspec import Struct

from relay.tools.testbed.process import HOST
from relay.tools.testbed.redis_kind import DOWN_AFTER, NODE_TIMEOUT

SERVICE: Final = "relay"
SENTINELS: Final = 3
# Two of the three sentinels have to agree, so that a single one can't start a failover, and one may be down.
QUORUM: Final = 2
# Sentinels wait twice this many milliseconds before they repeat a failed failover.
FAILOVER_TIMEOUT: Final = 5000

PRIMARIES: Final = 3
SLOTS: Final = 16384  # Redis Cluster's own number
EVERYWHERE: Final = (range(SLOTS),)

# A replica is synchronized at once, without waiting for more replicas.
OPTIONS: Final = ("--repl-diskless-sync-delay", "0")

# A condition to wait for, with its description.
Step = tuple[str, Callable[[], bool]]


class Member(Struct, frozen=True):
    """A server of a cluster, with its port for clients and its bus port for the other servers."""

    client: redis.Redis
    port: int
    bus: int


def replicates(client: redis.Redis) -> bool:
    """Return whether the server is a replica, and in sync with its primary."""
    info: Any = client.info("replication")
    return (info["role"], info.get("master_link_status")) == ("slave", "up")


# --- Sentinel


def sentinel_settings(folder: Path, port: int, primary: int) -> str:
    """Return the settings of a sentinel that watches the primary on this port."""
    return (
        f"port {port}\nbind {HOST}\ndir {folder}\n"
        f"sentinel monitor {SERVICE} {HOST} {primary} {QUORUM}\n"
        f"sentinel down-after-milliseconds {SERVICE} {round(DOWN_AFTER * 1000)}\n"
        f"sentinel failover-timeout {SERVICE} {FAILOVER_TIMEOUT}\n"
    )


def named(sentinel: redis.Redis) -> int:
    """Return the port of the server that a sentinel considers as the primary."""
    address: Any = sentinel.sentinel_get_master_addr_by_name(SERVICE)
    return int(address[1])


def knows_all(sentinel: redis.Redis, replicas: int) -> bool:
    """Return whether a sentinel could run a failover: it knows all others and all replicas, which are in sync."""
    state: Any = sentinel.sentinel_master(SERVICE)
    found: Any = sentinel.sentinel_slaves(SERVICE)
    whole = (state["num-other-sentinels"], len(found)) == (SENTINELS - 1, replicas)
    return whole and all(map(_could_take_over, found))


def order_failover(sentinel: redis.Redis) -> None:
    """Have the sentinels replace the live primary with its replica."""
    sentinel.execute_command("SENTINEL", "FAILOVER", SERVICE)  # type: ignore[no-untyped-call]


def _could_take_over(replica: dict[str, Any]) -> bool:
    up = not replica["is_sdown"] and not replica["is_disconnected"]
    return up and (replica["role-reported"], replica["master-link-status"]) == ("slave", "ok")


# --- Cluster


def cluster_options(bus: int, announced: int | None = None) -> list[str]:
    """Return the options of a cluster's server with this bus port.

    `announced` is the port that the other servers use instead, if there is a proxy between them.
    """
    words = {"enabled": "yes", "node-timeout": round(NODE_TIMEOUT * 1000), "port": bus}
    if announced is not None:
        words["announce-bus-port"] = announced
    return [*OPTIONS, *(word for key, value in words.items() for word in (f"--cluster-{key}", str(value)))]


def form_cluster(members: Sequence[Member], primaries: int = PRIMARIES) -> Iterator[Step]:
    """Form a cluster: the first servers are primaries with an equal share of the slots, the others their replicas.

    Yields each condition that has to hold before the next step.
    """
    clients = [member.client for member in members]
    bounds = [SLOTS * n // primaries for n in range(primaries + 1)]
    for client, (first, end) in zip(clients[:primaries], pairwise(bounds), strict=True):
        client.cluster("ADDSLOTSRANGE", first, end - 1)
    for member in members[1:]:
        clients[0].cluster("MEET", HOST, member.port, member.bus)
    whole: Step = ("all servers know all slots", lambda: all(is_whole(client, len(clients)) for client in clients))
    yield whole
    for primary, replica in zip(clients, clients[primaries:], strict=False):
        replica.cluster("REPLICATE", primary.cluster("MYID"))
    yield "all replicas are in step", lambda: all(map(replicates, clients[primaries:]))
    yield whole


def is_whole(client: redis.Redis, size: int) -> bool:
    """Return whether a server knows `size` servers, and sees all slots served by servers that haven't failed."""
    info: Any = client.cluster("INFO")
    return (info["cluster_state"], info["cluster_known_nodes"], info["cluster_slots_ok"]) == (
        "ok",
        str(size),
        str(SLOTS),
    )


def serving(client: redis.Redis) -> set[int]:
    """Return the ports of the primaries that a server of a cluster knows."""
    return {port for _slots, port in shares(client)}


def shares(client: redis.Redis) -> list[tuple[range, int]]:
    """Return the ranges of slots that a server of a cluster knows, with the port of the primary of each."""
    rows: Any = client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
    return [(range(int(first), int(last) + 1), int(primary[1])) for first, last, primary, *_ in rows]


def primary_of(replica: redis.Redis) -> int:
    """Return the port of a replica's primary."""
    info: Any = replica.info("replication")
    return int(info["master_port"])


def take_over(replica: redis.Redis) -> None:
    """Have a replica of a cluster replace its primary, which is alive and takes part."""
    replica.cluster("FAILOVER")


def set_timeout(clients: Sequence[redis.Redis], seconds: float) -> None:
    """Set after how many seconds of silence the servers consider each other as failed."""
    for client in clients:
        client.config_set("cluster-node-timeout", round(seconds * 1000))


# --- an endpoint


def put_in_place(new: redis.Redis) -> None:
    """Make a replica a primary."""
    new.replicaof("NO", "ONE")


def demote(old: redis.Redis, primary: int) -> None:
    """Make a primary the replica of the server on this port."""
    old.replicaof(HOST, str(primary))
