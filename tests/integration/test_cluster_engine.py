"""Names, pairs and messages on a Redis Cluster of three primaries, where two users are in two slots."""

from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
import redis

from tests.integration.conftest import StartNode
from tests.support.cluster import RedisCluster
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.party import LEASE, Party
from tests.support.swarm import Swarm, alive, couples
from tests.support.thieves import Thieves

USERS = 24  # enough for every pair of primaries


@pytest.fixture(scope="module")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def cluster_party(redis_cluster: RedisCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Party]:
    party = Party(tmp_path_factory.mktemp("party"), redis_cluster.url, size=2)
    yield party
    party.stop()


@pytest.fixture
def nodes(redis_cluster: RedisCluster, cluster_party: Party, guests: Guests) -> Iterator[list[Node]]:
    """Two nodes on the Redis Cluster. None of its primaries may have a key left."""
    yield cluster_party.nodes
    guests.depart()
    cluster_party.check_nothing_is_left(guests.names)
    redis_cluster.check_no_key_stays()


def test_the_users_are_spread_over_the_primaries(
    redis_cluster: RedisCluster, guests: Guests, nodes: list[Node]
) -> None:
    before = [records(client) for client in redis_cluster.clients]
    for n in range(USERS):
        guests.text(nodes[n % 2], f"user{n}")
    after = [records(client) for client in redis_cluster.clients]
    assert all(now > then for now, then in zip(after, before, strict=True))


def records(client: redis.Redis) -> int:
    """Return the number of records in all hashes of one primary."""
    return sum(client.hlen(key) for key in client.scan_iter(_type="hash", count=1000))


def test_a_name_has_one_owner(guests: Guests, nodes: list[Node]) -> None:
    for name in ("alice", "bob", "carol"):
        crowd = [guests.text(node) for node in nodes for _ in range(20)]
        for client in crowd:
            client.name = name
            client.send(name)
        replies = [client.line() for client in crowd]
        assert (replies.count("OK"), replies.count("Reuse")) == (1, 39)


def test_everybody_pairs_and_chats_and_quits(guests: Guests, places: tuple[Node, Node]) -> None:
    callers = [guests.text(places[0], f"caller{n}") for n in range(USERS)]
    callees = [guests.text(places[1], f"callee{n}") for n in range(USERS)]
    for n, caller in enumerate(callers):
        caller.send(f"To:callee{n}", "hi", "Quit")
    for n, (caller, callee) in enumerate(zip(callers, callees, strict=True)):
        caller.expect(f"* You are chatting with callee{n}.", "Quit")
        callee.expect(f"* caller{n} is chatting with you.")
        callee.expect_message(f"caller{n}", "hi")
        callee.expect("Quit.")


def test_mutual_calls_make_one_pair_and_who_is_busy_stays_so(guests: Guests, places: tuple[Node, Node]) -> None:
    alice, bob = guests.json(places[0], "alice"), guests.json(places[1], "bob")
    carol = guests.json(places[1], "carol")
    alice.send("to", name="bob")
    bob.send("to", name="alice")
    told = alice.frames_so_far() + bob.frames_so_far()
    assert len({frame["chat"] for frame in told}) == 1
    assert {frame["name"] for frame in told} == {"alice", "bob"}
    carol.send("to", name="bob")
    carol.expect_error("busy")
    alice.send("to", name="carol")
    carol.expect("paired", name="alice")
    bob.expect("left", name="alice", reason="left")


def test_messages_arrive_in_order(guests: Guests, places: tuple[Node, Node]) -> None:
    alice, bob = guests.json(places[0], "alice"), guests.json(places[1], "bob")
    alice.call("bob")
    bob.expect("paired")
    for n in range(1, 1001):
        alice.send("msg", id=n, text="m")
    for n in range(1, 1001):
        bob.expect("msg", id=n)
    alice.expect_acked(1000)


def test_a_shard_that_forgets_takes_no_name_away_and_ends_no_chat(
    redis_cluster: RedisCluster, guests: Guests, nodes: list[Node]
) -> None:
    shard = redis_cluster.clients[1]
    check_amnesia(guests, nodes, shard.flushall)


@pytest.mark.slow  # it needs its own cluster
def test_a_shard_that_is_restarted_takes_no_name_away_either(
    guests: Guests, start_node: StartNode, tmp_path: Path
) -> None:
    cluster = RedisCluster(tmp_path)
    shard = cluster.servers[1]

    def restart() -> None:
        shard.process.kill()
        shard.start()

    try:
        check_amnesia(guests, [start_node(redis=cluster.url) for _ in range(2)], restart)
    finally:
        cluster.stop()


def check_amnesia(guests: Guests, nodes: list[Node], forget: Callable[[], object]) -> None:
    owners = couples(10, [nodes[0].address], [nodes[1].address])
    thieves = Thieves(nodes, [owner.name for owner in owners], 1.5 * LEASE)

    async def scene() -> Swarm:
        async with alive(owners) as swarm:
            await swarm.pair_up()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(swarm.talk, 20, 1.5 * LEASE)
                thieves.start()
                await anyio.sleep(0.3)  # attempts and messages are in flight
                await anyio.to_thread.run_sync(forget)
            await swarm.settle()
            await anyio.to_thread.run_sync(thieves.join)
            return swarm

    swarm = anyio.run(scene)
    swarm.check()
    assert sum(program.drops for program in swarm.programs) == 0
    assert thieves.stolen == []
    for n in range(6):  # names on all shards
        guests.text_when_free(nodes[0], f"newcomer{n}", 10).expect_nothing_so_far()
