"""A Redis that loses its data takes no name away from a connected user, and ends no chat."""

import time
from collections.abc import Callable
from itertools import combinations

import anyio
import anyio.to_thread
import pytest
import redis

from relay.redis_client.keys import Keys
from tests.integration.conftest import StartNode
from tests.support.clients import JsonClient
from tests.support.guests import Guests
from tests.support.party import LEASE
from tests.support.process import wait_until
from tests.support.server import RedisServer
from tests.support.swarm import Swarm, alive, couples
from tests.support.thieves import Thieves

PAIRS = 10
RATE = 20  # messages a second from each program
SECONDS = 3.0  # seconds of attempts to get a name; longer than a lease

Amnesia = Callable[[RedisServer], None]


def everything(server: RedisServer) -> None:
    server.client().flushall()


def single_keys(server: RedisServer) -> None:
    client = server.client()
    for key in list(client.scan_iter("*:{p*}", count=1000))[::2]:
        client.delete(key)


def the_leases(server: RedisServer) -> None:
    client = server.client()
    for key in client.scan_iter("*:lease:*"):
        client.delete(key)


def by_restart(server: RedisServer) -> None:
    server.process.kill()
    server.start()


@pytest.mark.parametrize("amnesia", [everything, single_keys, the_leases, by_restart])
def test_no_stranger_gets_a_name_and_every_chat_goes_on(
    guests: Guests, own_redis: RedisServer, start_node: StartNode, prefix: str, amnesia: Amnesia
) -> None:
    nodes = [start_node(redis=own_redis.url) for _ in range(3)]
    owners = couples(PAIRS, [nodes[0].address], [nodes[1].address])
    names = [owner.name for owner in owners]
    thieves = Thieves([nodes[2]], names, SECONDS)

    async def scene() -> Swarm:
        async with alive(owners) as swarm:
            await swarm.pair_up()
            known = fences(own_redis.client(), prefix, names)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(swarm.talk, RATE, SECONDS)
                thieves.start()
                await anyio.sleep(0.3)  # attempts and messages are in flight
                await anyio.to_thread.run_sync(amnesia, own_redis)
            await swarm.settle()
            now = fences(own_redis.client(), prefix, names)
            assert all(later >= sooner for later, sooner in zip(now, known, strict=True))
            if amnesia in (everything, by_restart):
                assert all(later > sooner for later, sooner in zip(now, known, strict=True)), "put back anew"
            return swarm

    swarm = anyio.run(scene)
    swarm.check()
    assert sum(program.drops for program in swarm.programs) == 0
    thieves.join()
    assert thieves.stolen == []
    assert thieves.attempts > 2 * PAIRS
    newcomer = guests.json(nodes[2])
    wait_until(lambda: claimed(newcomer, "newcomer"), "a free name can be had again")
    wait_until(lambda: unknown(newcomer, "nobody"), "it is known again who isn't there")


def unknown(client: JsonClient, name: str) -> bool:
    client.send("to", name=name)
    return bool(client.expect("error")["code"] == "no_such_user")


def fences(client: redis.Redis, prefix: str, names: list[str]) -> list[int]:
    places = [Keys(prefix).place(name) for name in names]
    records = [client.hget(place.key, place.field) for place in places]
    assert all(isinstance(record, str) for record in records), records
    return [int(str(record).split()[0]) for record in records]


def test_a_partition_that_comes_back_with_one_record_gets_the_others_too(
    guests: Guests, own_redis: RedisServer, start_node: StartNode
) -> None:
    """An ordinary write finds the partition missing.

    All owners in it must learn of that, not only the writer's node.
    """
    one, two = (start_node(redis=own_redis.url) for _ in range(2))
    keys = Keys("relay")
    names = [f"user{n}" for n in range(3000)]
    alice, mate = next((a, b) for a, b in combinations(names, 2) if keys.partition_of(a) == keys.partition_of(b))
    guests.json(one, alice)
    writer, other = guests.json(two, mate), guests.json(two, "other")
    client = own_redis.client()
    (key,) = client.scan_iter(f"*:{{p{keys.partition_of(alice)}}}")
    client.delete(key)
    writer.call("other")
    other.expect("paired")
    wait_until(lambda: client.hlen(key) >= 3, "both owners are back beside the epoch")
    time.sleep(LEASE * 1.2)  # a partition that lost its data grants nothing to others for this time
    assert not claimed(guests.json(two), alice)


def claimed(client: JsonClient, name: str) -> bool:
    client.send("hello", name=name)
    client.name = name
    return bool(client.frame()["type"] == "welcome")
