"""Redis is frozen, gone, or back empty: chats go on where they can, and nobody loses a name or a connection."""

import time
from collections.abc import Callable

import pytest

from tests.integration.conftest import StartNode
from tests.support.clients import TextClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.party import LEASE
from tests.support.process import wait_until
from tests.support.server import RedisServer

NOT_NOW = "* Not possible right now, try again."
SOON = 1.0  # seconds in which a claim or a call is refused while Redis is away
BACK = LEASE + 5.0  # seconds until everything works after the return of Redis; owners come first

Outage = Callable[[RedisServer], None]


def freeze(server: RedisServer) -> None:
    server.process.pause()


def crash(server: RedisServer) -> None:
    server.process.kill()


def end_outage(server: RedisServer) -> None:
    """End the outage: thaw a frozen server, or start a crashed one again, empty."""
    if server.process.alive:
        server.process.resume()
    else:
        server.start()


@pytest.fixture
def two(start_node: StartNode, own_redis: RedisServer) -> tuple[Node, Node]:
    return start_node(redis=own_redis.url), start_node(redis=own_redis.url)


outages = pytest.mark.parametrize("outage", [freeze, crash], ids=lambda outage: outage.__name__)


@outages
def test_a_chat_on_one_node_goes_on(
    guests: Guests, own_redis: RedisServer, two: tuple[Node, Node], outage: Outage
) -> None:
    alice, bob = guests.text(two[0], "alice"), guests.text(two[0], "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    outage(own_redis)
    ends = time.monotonic() + 2 * LEASE
    while time.monotonic() < ends:
        alice.send("ping")
        bob.expect_message("alice", "ping")
        bob.send("pong")
        alice.expect_message("bob", "pong")
    end_outage(own_redis)


@outages
def test_claims_and_calls_are_refused_within_a_second_and_work_again_later(
    guests: Guests, own_redis: RedisServer, two: tuple[Node, Node], outage: Outage
) -> None:
    alice, bob = guests.json(two[0], "alice"), guests.text(two[1], "bob")
    outage(own_redis)
    newcomer, person = guests.json(two[0]), guests.text(two[0])
    for _ in range(3):
        asked = time.monotonic()
        newcomer.send("hello", name="carol")
        alice.send("to", name="bob")
        person.send("dave")
        newcomer.expect_error("unavailable", name="carol")
        alice.expect_error("unavailable", name="bob")
        person.expect(NOT_NOW)
        assert time.monotonic() - asked < SOON
    end_outage(own_redis)

    def paired() -> bool:
        alice.send("to", name="bob")
        return bool(alice.frame()["type"] == "paired")

    wait_until(paired, "alice can call bob again", BACK)
    bob.expect("* alice is chatting with you.")
    guests.text_when_free(two[0], "dave", BACK)


@pytest.mark.parametrize("outage", [freeze, pytest.param(crash, marks=pytest.mark.slow)])
def test_messages_across_nodes_wait_and_arrive_in_order(
    guests: Guests, own_redis: RedisServer, two: tuple[Node, Node], outage: Outage
) -> None:
    alice, bob = guests.json(two[0], "alice"), guests.json(two[1], "bob")
    alice.call("bob")
    bob.expect("paired")
    alice.send("msg", id=1, text="before")
    bob.expect("msg", text="before")
    alice.expect("ack", id=1)
    outage(own_redis)
    for n in range(2, 102):
        alice.send("msg", id=n, text=f"m{n}")
    alice.expect_nothing_so_far()
    end_outage(own_redis)
    for n in range(2, 102):
        bob.expect("msg", id=n, text=f"m{n}", patience=BACK)
    alice.expect_acked(101)
    for client in (alice, bob):
        client.expect_nothing_so_far()


def test_a_redis_that_forgets_takes_no_name_away_and_ends_no_chat(
    guests: Guests, own_redis: RedisServer, two: tuple[Node, Node]
) -> None:
    alice, bob = guests.json(two[0], "alice"), guests.json(two[1], "bob")
    chat = alice.call("bob")["chat"]
    bob.expect("paired")
    for n in range(1, 6):
        own_redis.client().flushall()
        thief = guests.json(two[n % 2])
        thief.send("hello", name="alice")
        assert thief.expect("error", name="alice")["code"] in ("name_taken", "unavailable")
        alice.send("msg", id=n, text=str(n))
        bob.expect("msg", id=n, text=str(n), chat=chat)
        alice.expect("ack", id=n)

    def remembered() -> bool:
        thief.send("hello", name="bob")
        return bool(thief.expect("error")["code"] == "name_taken")

    wait_until(remembered, "the owners have written themselves back", BACK)
    for client in (alice, bob):
        client.expect_nothing_so_far()


def test_a_claim_that_was_refused_meanwhile_leaves_the_name_free(
    guests: Guests, own_redis: RedisServer, two: tuple[Node, Node]
) -> None:
    """Redis may carry the claim out when it wakes, long after its user was refused."""
    guests.text(two[0], "first")  # Redis knows the script from here on
    person = guests.text(two[0])
    freeze(own_redis)
    person.send("carol")
    person.expect(NOT_NOW)
    end_outage(own_redis)
    other = guests.text(two[1])
    wait_until(lambda: gets(other, "carol"), "the name is free", BACK)


def gets(client: TextClient, name: str) -> bool:
    client.send(name)
    return client.line() == "OK"
