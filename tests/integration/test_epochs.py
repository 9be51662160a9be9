"""After Redis lost data, all names wait for one lease together, whether or not anybody asks meanwhile."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from relay.redis_client.keys import PARTITIONS, Keys
from tests.integration.conftest import StartNode
from tests.support.cluster import PATIENCE, RedisCluster
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.party import LEASE
from tests.support.process import wait_until
from tests.support.server import RedisServer

NEWCOMERS = 20  # names in nearly as many partitions
STEP = 40_000_000  # microseconds by which a clock was set back

Forget = Callable[[RedisServer], object]


def flushed(server: RedisServer) -> None:
    server.client().flushall()


def restarted(server: RedisServer) -> None:
    server.process.kill()
    server.start()


def epochs(client: redis.Redis, prefix: str) -> list[str]:
    """Return the epochs of all existing partitions, with the server that each of them names."""
    keys = Keys(prefix)
    with client.pipeline(transaction=False) as pipeline:
        for number in range(PARTITIONS):
            pipeline.hget(keys.partition(number), "@")
        return [epoch for epoch in pipeline.execute() if epoch is not None]


def now(client: redis.Redis) -> int:
    seconds, micro = client.time()
    return int(seconds) * 1_000_000 + int(micro)


def began(epoch: str) -> int:
    return int(epoch.split()[0])


@pytest.mark.parametrize("forget", [flushed, restarted])
def test_all_partitions_begin_together_though_nobody_asks(
    guests: Guests, own_redis: RedisServer, start_node: StartNode, prefix: str, forget: Forget
) -> None:
    nodes = [start_node(redis=own_redis.url) for _ in range(2)]
    owner = guests.json(nodes[0], "owner")
    forget(own_redis)
    client = own_redis.client()
    wait_until(lambda: len(epochs(client, prefix)) == PARTITIONS, "every partition has begun")
    then = epochs(client, prefix)
    wait_until(lambda: now(client) > max(map(began, then)) + LEASE * 1e6, "a lease has passed since")
    check_free(guests, nodes)
    assert epochs(client, prefix) == then, "none began for those who came"
    stranger = guests.json(nodes[1])
    stranger.send("hello", name="owner")
    stranger.expect_error("name_taken")
    owner.send("ping")
    owner.expect("pong")


def check_free(guests: Guests, nodes: list[Node]) -> None:
    """Check that newcomers get their names, and that absent users are known to be absent."""
    for n in range(NEWCOMERS):
        newcomer = guests.json(nodes[n % 2], f"newcomer{n}")
        newcomer.send("to", name=f"nobody{n}")
        newcomer.expect_error("no_such_user")


def test_an_epoch_that_is_yet_to_come_is_an_old_one(
    guests: Guests, own_redis: RedisServer, start_node: StartNode, prefix: str
) -> None:
    """The server's clock was set back a moment after Redis had lost its data."""
    node = start_node(redis=own_redis.url)
    client, keys = own_redis.client(), Keys(prefix)
    wait_until(lambda: len(epochs(client, prefix)) == PARTITIONS, "every partition has begun")
    server = epochs(client, prefix)[0].split()[1]
    ahead = now(client) + STEP
    for number in range(PARTITIONS):
        client.hset(keys.partition(number), "@", f"{ahead} {server}")
    check_free(guests, [node, node])
    assert "redis forgot" not in node.text()


# --- a cluster, of which one shard forgets


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path / "cluster", replicas=True)
    yield cluster
    cluster.stop()


def test_the_partitions_of_a_shard_begin_together_and_no_others(
    guests: Guests, cluster: RedisCluster, start_node: StartNode, prefix: str
) -> None:
    """The shard is flushed, gets slots from others, and is replaced by its replica.

    Nobody asks for a name there meanwhile.
    """
    nodes = [start_node(redis=cluster.url) for _ in range(2)]
    known = epochs_by_key(cluster, prefix)
    first, second = cluster.servers[:2]
    theirs = {server: [key for key in known if cluster.home(key) is server] for server in (first, second)}
    moved, left = theirs[second][:3], theirs[second][3:]

    def expect_begun(forgotten: list[str]) -> None:
        def begun() -> bool:
            found = epochs_by_key(cluster, prefix)
            return all(found.get(key, known[key]) != known[key] for key in forgotten)

        wait_until(begun, "the partitions have begun", PATIENCE)
        found = epochs_by_key(cluster, prefix)
        assert {key for key in known if found[key] != known[key]} == set(forgotten)
        known.update(found)

    cluster.clients[0].flushall()
    expect_begun(theirs[first])
    for key in moved:
        cluster.move(key, first)
    expect_begun(moved)
    second.process.kill()
    wait_until(lambda: cluster.home(left[0]) is not second, "its replica takes over", PATIENCE)
    expect_begun(left)

    youngest = max(began(known[key]) for key in left)
    wait_until(lambda: now(cluster.home(left[0]).client()) > youngest + LEASE * 1e6, "a lease has passed since")
    check_free(guests, nodes)
    assert epochs_by_key(cluster, prefix) == known, "none began for those who came"


def epochs_by_key(cluster: RedisCluster, prefix: str) -> dict[str, str]:
    """Return the epochs of all existing partitions by their key."""
    keys = [Keys(prefix).partition(number) for number in range(PARTITIONS)]
    found: dict[str, str] = {}
    for server, client in zip(cluster.servers, cluster.clients, strict=True):
        slots = set(cluster.slots(server))
        some = [key for key in keys if key_slot(key.encode()) in slots]
        with client.pipeline(transaction=False) as pipeline:
            for key in some:
                pipeline.hget(key, "@")
            found |= {key: epoch for key, epoch in zip(some, pipeline.execute(), strict=True) if epoch}
    return found
