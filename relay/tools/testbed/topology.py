"""How sentinels and a cluster are made of servers that run, for `relay torture` and for the tests.

Whoever makes them waits in a way of its own. All else blocks for as long as a server takes to answer.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import redis
from msgspec import Struct

from relay.tools.testbed.engine import DOWN_AFTER, NODE_TIMEOUT
from relay.tools.testbed.process import HOST

SERVICE: Final = "relay"
SENTINELS: Final = 3
# Two of the three: what one alone believes moves nothing, and one may be away.
QUORUM: Final = 2
# After a failover that came to nothing, milliseconds before the next try, twice.
FAILOVER_TIMEOUT: Final = 5000

PRIMARIES: Final = 3
SLOTS: Final = 16384  # Redis Cluster's own number
EVERYWHERE: Final = (range(SLOTS),)

# A replica is wanted at once, not when more of them might have come.
OPTIONS: Final = ("--repl-diskless-sync-delay", "0")

# What to wait for, in words and as a question.
Step = tuple[str, Callable[[], bool]]


class Member(Struct, frozen=True):
    """A server of a cluster, and the port on which it talks to the others."""

    client: redis.Redis
    port: int
    bus: int


def replicates(client: redis.Redis) -> bool:
    """Whether the server is a replica, and in step with its primary."""
    info: Any = client.info("replication")
    return (info["role"], info.get("master_link_status")) == ("slave", "up")


# --- Sentinel


def sentinel_settings(folder: Path, port: int, primary: int) -> str:
    """The settings of a sentinel that watches over the primary on that port."""
    return (
        f"port {port}\nbind {HOST}\ndir {folder}\n"
        f"sentinel monitor {SERVICE} {HOST} {primary} {QUORUM}\n"
        f"sentinel down-after-milliseconds {SERVICE} {round(DOWN_AFTER * 1000)}\n"
        f"sentinel failover-timeout {SERVICE} {FAILOVER_TIMEOUT}\n"
    )


def named(sentinel: redis.Redis) -> int:
    """The port of the server that a sentinel calls the primary."""
    address: Any = sentinel.sentinel_get_master_addr_by_name(SERVICE)
    return int(address[1])


def knows_all(sentinel: redis.Redis, replicas: int) -> bool:
    """Whether a sentinel knows all others and so many replicas, in step as far as it knows: a failover is possible."""
    state: Any = sentinel.sentinel_master(SERVICE)
    found: Any = sentinel.sentinel_slaves(SERVICE)
    whole = (state["num-other-sentinels"], len(found)) == (SENTINELS - 1, replicas)
    return whole and all(map(_could_take_over, found))


def order_failover(sentinel: redis.Redis) -> None:
    """Have the sentinels put the replica in the primary's place, which lives."""
    sentinel.execute_command("SENTINEL", "FAILOVER", SERVICE)  # type: ignore[no-untyped-call]


def _could_take_over(replica: dict[str, Any]) -> bool:
    up = not replica["is_sdown"] and not replica["is_disconnected"]
    return up and (replica["role-reported"], replica["master-link-status"]) == ("slave", "ok")


# --- Cluster


def cluster_options(bus: int, announced: int | None = None) -> list[str]:
    """Of a server that is to be part of a cluster, and to talk to the others on that port.

    `announced`: the port that the others are told of instead, where something stands between them.
    """
    words = {"enabled": "yes", "node-timeout": round(NODE_TIMEOUT * 1000), "port": bus}
    if announced is not None:
        words["announce-bus-port"] = announced
    return [*OPTIONS, *(word for key, value in words.items() for word in (f"--cluster-{key}", str(value)))]


def form_cluster(members: Sequence[Member], primaries: int = PRIMARIES) -> Iterator[Step]:
    """So many primaries that share the slots evenly; the further ones become their replicas, in the same order."""
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
    """Whether a server sees every slot served, none of them by a server in doubt, and so many servers."""
    info: Any = client.cluster("INFO")
    return (info["cluster_state"], info["cluster_known_nodes"], info["cluster_slots_ok"]) == (
        "ok",
        str(size),
        str(SLOTS),
    )


def serving(client: redis.Redis) -> set[int]:
    """The ports of the primaries that a server of a cluster knows."""
    return {port for _slots, port in shares(client)}


def shares(client: redis.Redis) -> list[tuple[range, int]]:
    """Ranges of slots, and the port of the primary that serves each, as a server of a cluster knows them."""
    rows: Any = client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
    return [(range(int(first), int(last) + 1), int(primary[1])) for first, last, primary, *_ in rows]


def primary_of(replica: redis.Redis) -> int:
    """The port of the primary of a replica."""
    info: Any = replica.info("replication")
    return int(info["master_port"])


def take_over(replica: redis.Redis) -> None:
    """Have a replica of a cluster take its primary's place, which lives and helps."""
    replica.cluster("FAILOVER")


def set_timeout(clients: Sequence[redis.Redis], seconds: float) -> None:
    """After how long a silence servers call each other failed."""
    for client in clients:
        client.config_set("cluster-node-timeout", round(seconds * 1000))


# --- an endpoint


def put_in_place(new: redis.Redis) -> None:
    """Make a replica that is in step a primary."""
    new.replicaof("NO", "ONE")


def demote(old: redis.Redis, primary: int) -> None:
    """Make a primary the replica of the server on that port."""
    old.replicaof(HOST, str(primary))
