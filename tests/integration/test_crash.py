"""A node that dies or freezes: its names are free in time, partners are told, and it speaks for nobody any more."""

import json
import random
import time

import pytest
import redis

from tests.integration.conftest import StartNode
from tests.support.clients import JsonClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import wait_until

LEASE = 1.0  # seconds; shorter than elsewhere, because nearly every test here waits for its end
CALM_LEASE = 2.0  # seconds; where it must not end although a node is frozen and the machine busy
GRACE = 1.0  # seconds
TAIL_MS = 3_600_000  # for which a lapsed lease stays in Redis
PATIENCE = 10 * LEASE  # a look that comes late, on a busy machine, begins anew
PROMISED = LEASE + 1  # seconds from a crash until names are free and partners told


@pytest.fixture
def survivor(start_node: StartNode) -> Node:
    """A node that was started first, because a new node takes no names over."""
    return start_node(lease=LEASE, grace=GRACE)


@pytest.fixture
def victim(survivor: Node, start_node: StartNode) -> Node:
    return start_node(lease=LEASE, grace=GRACE)


def test_the_names_of_a_crashed_node_are_free_within_a_lease_and_a_second(
    guests: Guests, survivor: Node, victim: Node
) -> None:
    for n in range(20):
        guests.text(victim, f"user{n}")
    crashed = time.monotonic()
    victim.kill()
    for n in range(20):
        guests.text_when_free(survivor, f"user{n}", PROMISED - (time.monotonic() - crashed))


def test_a_name_of_a_node_that_is_long_dead_is_free_for_somebody_who_tries_now_and_then(
    guests: Guests, survivor: Node, victim: Node, redis_store: redis.Redis, prefix: str
) -> None:
    """Its lease is gone after an hour, or was on a server that was replaced. People don't try all the time."""
    guests.text(victim, "alice")
    victim.kill()

    def lapsed() -> list[bytes]:
        return [key for key in redis_store.scan_iter(f"{prefix}:lease:*") if redis_store.pttl(key) < TAIL_MS]

    wait_until(lambda: bool(lapsed()), "the victim's lease has lapsed")
    redis_store.delete(*lapsed())
    alice = guests.text(survivor)
    deadline = time.monotonic() + PATIENCE
    alice.send("alice")
    while alice.line() == "Reuse":
        assert time.monotonic() < deadline
        time.sleep(LEASE)  # a person thinks for this time
        alice.send("alice")


@pytest.mark.parametrize("caller", ["the one who dies", "the one who stays"])
def test_partners_of_people_on_a_crashed_node_have_their_quit_in_time(
    guests: Guests, survivor: Node, victim: Node, caller: str
) -> None:
    alice, bob = guests.text(victim, "alice"), guests.text(survivor, "bob")
    if caller == "the one who dies":
        alice.call("bob")
        bob.expect("* alice is chatting with you.")
    else:
        bob.call("alice")
        alice.expect("* bob is chatting with you.")
    victim.kill()
    bob.expect("Quit.", patience=PROMISED)
    carol = guests.text(survivor, "carol")
    bob.call("carol")
    carol.expect("* bob is chatting with you.")


def test_partners_of_programs_on_a_crashed_node_are_told_away_and_after_its_grace_lost(
    guests: Guests, survivor: Node, victim: Node
) -> None:
    alice, bob = guests.json(victim, "alice"), guests.json(survivor, "bob")
    alice.call("bob")
    bob.expect("paired")
    crashed = time.monotonic()
    victim.kill()
    bob.expect("away", name="alice", patience=PROMISED)
    assert bob.who("alice") == "away"
    guests.text(survivor).login("alice", "Reuse")
    bob.expect("left", name="alice", reason="lost", patience=PROMISED + GRACE)
    assert time.monotonic() - crashed < PROMISED + GRACE
    guests.text_when_free(survivor, "alice", 1)


def test_messages_to_a_crashed_node_are_reported_when_the_chat_is_lost(
    guests: Guests, survivor: Node, victim: Node
) -> None:
    alice, bob = guests.json(victim, "alice", acks=True), guests.json(survivor, "bob")
    bob.call("alice")
    alice.expect("paired")
    for n in (1, 2):
        bob.send("msg", id=n, text=str(n))
        alice.expect("msg", id=n)
    alice.send("ack", id=1)
    bob.expect("ack", id=1)
    victim.kill()
    bob.expect("away", name="alice", patience=PROMISED)
    bob.send("msg", id=3, text="3")
    ends = {frame["type"]: frame for frame in (bob.frame(), bob.frame())}
    assert [ends["unconfirmed"][key] for key in ("from", "to", "reason")] == [2, 3, "lost"]
    assert ends["left"]["reason"] == "lost"


def test_a_person_is_told_what_may_not_have_arrived(guests: Guests, survivor: Node, victim: Node) -> None:
    guests.json(victim, "alice", acks=True)
    bob = guests.text(survivor, "bob")
    bob.call("alice")
    victim.kill()
    bob.expect("* alice is away.", patience=PROMISED)
    bob.send("are you there?")
    assert {bob.line(), bob.line()} == {"* May not have arrived: are you there?", "Quit."}


def test_a_frozen_node_that_lost_a_name_delivers_nothing_in_it_and_says_so(
    guests: Guests, survivor: Node, victim: Node
) -> None:
    alice, bob = guests.text(victim, "alice"), guests.text(survivor, "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    victim.pause()
    alice.send("from the past", "To:bob", "from the past")
    bob.expect("Quit.", patience=PROMISED)
    heir = guests.text_when_free(survivor, "alice", 1)
    heir.call("bob")
    bob.expect("* alice is chatting with you.")
    victim.resume()
    notices = [line for line in alice.rest().decode().splitlines() if not line.startswith("* May not have arrived")]
    assert notices[-1] == "* Your name now belongs to another connection."
    heir.send("it is me")
    bob.expect_message("alice", "it is me")


def test_a_program_on_a_frozen_node_that_lost_its_name_is_back_before_hello(
    guests: Guests, survivor: Node, victim: Node
) -> None:
    alice, bob = guests.json(victim, "alice"), guests.json(survivor, "bob")
    alice.call("bob")
    bob.expect("paired")
    victim.pause()
    alice.send("msg", id=1, text="from the past")
    bob.expect("away", patience=PROMISED)
    bob.expect("left", reason="lost", patience=PROMISED + GRACE)
    heir = guests.text_when_free(survivor, "alice", 1)
    heir.call("bob")
    bob.expect("paired", name="alice")
    victim.resume()
    while (frame := alice.frame())["type"] != "error":
        assert frame["type"] in ("unconfirmed", "left")
    assert frame["code"] == "name_lost"
    alice.name = "alison"
    alice.send("hello", name="alison")
    while (frame := alice.frame())["type"] != "welcome":
        assert (frame["code"], frame["id"]) == ("bad_frame", 1), "its message came before this hello"
    heir.send("it is me")
    bob.expect("msg", text="it is me")


def uid_of(name: str, redis_store: redis.Redis, prefix: str) -> str:
    """Return the id of the node of this name by its report in Redis, or "" before there is one."""
    reports = {str(node_id): json.loads(report) for node_id, report in redis_store.hgetall(f"{prefix}:nodes").items()}
    return next((node_id for node_id, report in reports.items() if report["name"] == name), "")


@pytest.mark.parametrize("frozen", ["the sender's", "the receiver's"])
def test_nobody_notices_a_node_frozen_for_half_a_lease(
    guests: Guests, start_node: StartNode, redis_store: redis.Redis, prefix: str, frozen: str
) -> None:
    survivor, victim = (start_node(lease=CALM_LEASE, grace=GRACE) for _ in range(2))
    node_id = wait_until(lambda: uid_of(victim.name, redis_store, prefix), "the victim has said who it is")

    def renewed() -> bool:
        """Whether the victim has just renewed its lease: what is left of it must outlast the freeze."""
        return redis_store.pttl(f"{prefix}:lease:{node_id}") > TAIL_MS + 900 * CALM_LEASE

    alice, bob = guests.json(victim, "alice"), guests.json(survivor, "bob")
    chat = alice.call("bob")["chat"]
    bob.expect("paired")
    sender, receiver = (alice, bob) if frozen == "the sender's" else (bob, alice)
    for n in (1, 2):
        wait_until(renewed, "the victim has renewed its lease")
        victim.pause()
        sender.send("msg", id=n, text=str(n))
        time.sleep(CALM_LEASE / 2)  # the length of the freeze is what is tested
        victim.resume()
        receiver.expect("msg", id=n, text=str(n), chat=chat)
        sender.expect("ack", id=n)
    for client in (alice, bob):
        client.expect_nothing_so_far()


def test_a_node_frozen_beyond_its_lease_keeps_the_names_that_nobody_claimed(
    guests: Guests, survivor: Node, victim: Node
) -> None:
    alice, bob = guests.text(victim, "alice"), guests.text(survivor, "bob")
    victim.pause()
    time.sleep(LEASE * 1.5)  # the length of the freeze is what is tested
    victim.resume()
    alice.expect_nothing_so_far()
    bob.call("alice")
    alice.expect("* bob is chatting with you.")
    alice.send("here I am")
    bob.expect_message("alice", "here I am")


@pytest.mark.parametrize("crashes", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_crash_in_the_middle_of_a_call_leaves_the_other_paired_or_free(
    guests: Guests, survivor: Node, start_node: StartNode, crashes: int
) -> None:
    """At another moment in each run, and each crash costs a lease."""
    bob = guests.json(survivor, "bob")
    for n in range(crashes):
        victim = start_node(lease=LEASE, grace=GRACE)
        caller = guests.text(victim, f"caller{n}")
        if n % 2:
            bob.send("to", name=f"caller{n}")
        caller.send("To:bob")
        time.sleep(random.uniform(0, 0.004))  # a random part of the agreement's duration
        victim.kill()
        wait_until(lambda: settled(bob), f"bob is free after crash {n}", PROMISED)


def settled(bob: JsonClient) -> bool:
    """Read until bob is free: the chat with the dead node ends as lost at any moment."""
    bob.send("who", name="bob")
    while (frame := bob.frame())["type"] != "presence":
        pass
    return bool(frame["state"] == "free")
