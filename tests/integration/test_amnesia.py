"""A Redis that forgets takes no name away from anyone who is connected, and ends no chat."""

import threading
import time
from collections.abc import Callable
from itertools import combinations

import pytest

from relay.directory.keys import Keys
from tests.integration.conftest import StartNode
from tests.support.clients import JsonClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.party import LEASE
from tests.support.process import wait_until
from tests.support.server import RedisServer

USERS = 20
STRANGERS = 8
SECONDS = 4.0  # of attempts to get a name; longer than a lease

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
def test_no_stranger_gets_a_name_and_chats_go_on(
    guests: Guests, own_redis: RedisServer, start_node: StartNode, amnesia: Amnesia
) -> None:
    nodes = [start_node(redis=own_redis.url) for _ in range(3)]
    owners = [guests.json(nodes[n % 2], f"owner{n}") for n in range(USERS)]
    for caller, callee in zip(owners[::2], owners[1::2], strict=True):
        caller.call(str(callee.name))
        callee.expect("paired")
    thieves = Thieves(nodes[2], [str(owner.name) for owner in owners])
    thieves.start()
    time.sleep(0.3)  # the attempts are under way
    amnesia(own_redis)
    for round in range(1, 11):
        for caller, callee in zip(owners[::2], owners[1::2], strict=True):
            caller.send("msg", id=round, text=str(round))
            callee.expect("msg", id=round, text=str(round))
            caller.expect("ack", id=round)
    thieves.join()
    assert thieves.stolen == []
    assert thieves.attempts > USERS
    newcomer = guests.json(nodes[2])
    deadline = time.monotonic() + 10
    while not claimed(newcomer, "newcomer"):
        assert time.monotonic() < deadline, "a free name can't be had again"


def test_a_partition_that_comes_back_with_one_record_gets_the_others_too(
    guests: Guests, own_redis: RedisServer, start_node: StartNode
) -> None:
    """An ordinary write finds the partition gone: its other owners have to hear of that, not only the writer's node."""
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
    time.sleep(LEASE * 1.2)  # a forgotten partition grants nothing to strangers for so long
    assert not claimed(guests.json(two), alice)


def claimed(client: JsonClient, name: str) -> bool:
    client.send("hello", name=name)
    client.name = name
    return bool(client.frame()["type"] == "welcome")


class Thieves(threading.Thread):
    """Strangers who ask for the owners' names all the time."""

    def __init__(self, node: Node, names: list[str]) -> None:
        super().__init__()
        self._clients = [JsonClient(node.address) for _ in range(STRANGERS)]
        self._names = names
        self.attempts = 0
        self.stolen: list[str] = []

    def run(self) -> None:
        end = time.monotonic() + SECONDS
        turn = 0
        while time.monotonic() < end:
            asked = []
            for client in self._clients:
                turn += 1
                asked.append(self._names[turn % len(self._names)])
                client.send("hello", name=asked[-1])
            for client, name in zip(self._clients, asked, strict=True):
                self.attempts += 1
                if client.frame()["type"] == "welcome":
                    self.stolen.append(name)
                    return
        for client in self._clients:
            client.close()
