"""Quiet users, and messages that stay on one node, cost Redis nothing."""

import resource
from pathlib import Path

import pytest

from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import wait_until
from tests.support.server import RedisServer, calls_of, commands_per_second, commands_processed

QUIET = 5000  # users
PAIRS = 100  # of them are in a chat
AT_ONCE = 250  # logins; a claim that takes longer than a second is refused, however busy the machine is
SPAN = 3.0  # seconds of watching
SHORT_SPAN = 0.3  # the same, to see whether a node has settled
ALLOWED = 50.0  # commands a second, for the lazy refresh of long TTLs


@pytest.fixture
def lonely_node(start_node: StartNode, own_redis: RedisServer) -> Node:
    """The only node on its Redis, so that every command there is its own."""
    return start_node(redis=own_redis.url)


def test_quiet_users_and_pairs_cost_redis_nothing(guests: Guests, own_redis: RedisServer, lonely_node: Node) -> None:
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert allowed > QUIET + 100, f"this needs {QUIET} open files and some; `ulimit -Hn` says {allowed}"
    client = own_redis.client()
    empty = commands_per_second(client, SPAN)
    for start in range(0, QUIET, AT_ONCE):
        enter(guests, lonely_node, range(start, start + AT_ONCE))
    for n in range(PAIRS):
        guests.text(lonely_node, f"b{n}").call(f"user{n}")
    crowded = commands_per_second(client, SPAN)
    assert crowded - empty < ALLOWED


def enter(guests: Guests, node: Node, numbers: range) -> None:
    """Have some users log in at the same time."""
    crowd = [guests.text(node) for _ in numbers]
    for n, user in zip(numbers, crowd, strict=True):
        user.name = f"user{n}"
        user.send(user.name)
    for user in crowd:
        user.expect("OK")


def test_messages_on_one_node_do_not_touch_redis(guests: Guests, own_redis: RedisServer, lonely_node: Node) -> None:
    client = own_redis.client()
    alice, bob = guests.text(lonely_node, "alice"), guests.text(lonely_node, "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    # At its start a node asks about every partition once.
    wait_until(lambda: commands_per_second(client, SHORT_SPAN) < 100, "the node has looked around")
    before = commands_processed(client)
    for n in range(1000):
        alice.send(str(n))
        bob.expect_message("alice", str(n))
    assert commands_processed(client) - before < 200, "only the node's own upkeep"


def test_messages_across_nodes_travel_in_batches(
    guests: Guests, own_redis: RedisServer, lonely_node: Node, start_node: StartNode
) -> None:
    client = own_redis.client()
    other = start_node(redis=own_redis.url)
    alice, bob = guests.text(lonely_node, "alice"), guests.text(other, "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    before = calls_of(client, "publish") + calls_of(client, "spublish")
    alice.send(*(str(n) for n in range(5000)))
    for n in range(5000):
        bob.expect_message("alice", str(n))
    assert calls_of(client, "publish") + calls_of(client, "spublish") - before < 2500, "acknowledgements included"


def test_every_key_has_a_time_to_live(
    guests: Guests, own_redis: RedisServer, lonely_node: Node, tmp_path: Path
) -> None:
    client = own_redis.client()
    alice = guests.text(lonely_node, "alice")
    bob = guests.json(lonely_node, "bob")
    bob.call("alice")
    alice.expect("* bob is chatting with you.")
    keys = client.keys()
    assert isinstance(keys, list)
    assert keys, "ownership is in Redis"
    assert [key for key in keys if client.ttl(key) == -1] == []
