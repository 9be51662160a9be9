"""The end of a chat, and the return to one: the order of the outcomes, for programs and for people."""

import time
from collections.abc import Callable

import pytest
import redis

from tests.integration.conftest import StartNode
from tests.support.clients import JsonClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.party import GRACE
from tests.support.process import wait_until

Places = tuple[Node, Node]


def leaves(program: JsonClient) -> None:
    program.send("leave")


def quits(program: JsonClient) -> None:
    program.send("quit")


def is_lost(program: JsonClient) -> None:
    program.reset()


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        (leaves, ["* program left the chat."]),
        (quits, ["Quit."]),
        (is_lost, ["* program is away.", "Quit."]),
    ],
)
def test_a_person_is_told_what_may_not_have_arrived_before_the_end_of_the_chat(
    guests: Guests, places: Places, ends: Callable[[JsonClient], None], told: list[str]
) -> None:
    program, person = guests.json(places[0], "program", acks=True), guests.text(places[1], "person")
    person.call("program")
    program.expect("paired")
    person.send("one", "two", "three")
    for n in (1, 2, 3):
        program.expect("msg", id=n)
    program.send("ack", id=1)
    ends(program)
    *before, end = told
    person.expect(*before, "* May not have arrived: two", "* May not have arrived: three", end)
    person.expect_nothing_so_far()


def test_a_person_whose_node_stops_is_told_what_may_not_have_arrived(guests: Guests, start_node: StartNode) -> None:
    stays, stops = start_node(), start_node()
    program, person = guests.json(stays, "program", acks=True), guests.text(stops, "person")
    person.call("program")
    program.expect("paired")
    person.send("one")
    program.expect("msg", id=1)
    stops.terminate()
    program.expect("left", reason="quit")
    assert set(person.rest().decode().splitlines()) == {
        "* May not have arrived: one",
        "* This node is going away; please reconnect.",
    }


def test_at_the_end_of_a_chat_comes_what_was_acknowledged_then_what_was_not_then_the_end(
    guests: Guests, places: Places
) -> None:
    alice, bob = guests.json(places[0], "alice"), guests.json(places[1], "bob", acks=True)
    chat = alice.call("bob")["chat"]
    bob.expect("paired")
    for n in (1, 2, 3, 4):
        alice.send("msg", id=n, text=str(n))
        bob.expect("msg", id=n)
    bob.send("ack", id=2)
    bob.send("leave")
    alice.expect("ack", id=2, chat=chat)
    alice.expect("unconfirmed", from_=3, to=4, reason="left")
    alice.expect("left", name="bob", reason="left")
    alice.send("msg", id=4, text="4")
    alice.expect("unconfirmed", from_=4, to=4, reason="left")
    alice.send("msg", id=2, text="2")
    alice.expect("ack", id=2, chat=chat)
    alice.expect_nothing_so_far()


def back(guests: Guests, node: Node, old: JsonClient, **fields: object) -> JsonClient:
    client = guests.json(node)
    client.name, client.token = old.name, old.token
    client.send("hello", name=old.name, token=old.token, **fields)
    return client


@pytest.mark.parametrize("returns_to", ["the same node", "another node"])
def test_after_a_resume_new_ids_go_on_from_the_larger_of_sent_and_last(
    guests: Guests, nodes: list[Node], returns_to: str
) -> None:
    alice, bob = guests.json(nodes[0], "alice"), guests.json(nodes[1], "bob")
    chat = alice.call("bob")["chat"]
    bob.expect("paired")
    for n in (1, 2, 3):
        alice.send("msg", id=n, text=str(n))
        bob.expect("msg", id=n)
    alice.expect_acked(3)
    node = nodes[0] if returns_to == "the same node" else nodes[2]
    alice.reset()
    bob.expect("away")
    alice = back(guests, node, alice, chat=chat, sent=1)  # the client has forgotten the others
    alice.expect("welcome", resumed=True)
    alice.expect("paired", last=3)
    bob.expect("back")
    alice.send("msg", id=5, text="a jump")
    alice.expect_error("bad_order", id=5, expected=4)
    alice.reset()
    bob.expect("away")
    alice = back(guests, node, alice, chat=chat, sent=6)  # the node has never heard of 4 to 6
    alice.expect("welcome", resumed=True)
    alice.expect("paired", last=3)
    bob.expect("back")
    alice.send("msg", id=8, text="a jump")
    alice.expect_error("bad_order", id=8, expected=7)
    for n in (4, 5, 6, 7):
        alice.send("msg", id=n, text=str(n))
        bob.expect("msg", id=n, text=str(n))
    alice.expect_acked(7)


def test_a_token_of_a_session_whose_grace_is_over_gets_the_answer_of_a_wrong_one(
    guests: Guests, nodes: list[Node]
) -> None:
    alice = guests.json(nodes[0], "alice")
    observer = guests.json(nodes[0], "observer")
    alice.reset()
    time.sleep(GRACE)  # the test needs the grace to be over
    wait_until(lambda: observer.who("alice") == "offline", "the session is over", 2)
    answers = []
    for node in nodes:
        for token in (str(alice.token), "x" * len(str(alice.token))):
            client = guests.json(node)
            client.send("hello", name="alice", token=token)
            answers.append(client.expect_error("bad_token", name="alice")["message"])
    assert len(set(answers)) == 1


def test_no_token_stands_in_redis(guests: Guests, node: Node, redis_store: redis.Redis) -> None:
    alice = guests.json(node, "alice")
    token, found = str(alice.token), 0
    for key in redis_store.scan_iter(_type="hash", count=1000):
        for value in redis_store.hvals(key):
            found += "alice" in value
            assert token not in value
    assert found, "her record is there"


def test_a_program_whose_node_stops_goes_on_elsewhere(guests: Guests, start_node: StartNode) -> None:
    one, two, three = (start_node(grace=10) for _ in range(3))
    alice, bob = guests.json(one, "alice", acks=True), guests.json(two, "bob", acks=True)
    chat = alice.call("bob")["chat"]
    bob.expect("paired")
    alice.send("msg", id=1, text="before")
    bob.expect("msg", id=1)
    one.terminate()
    while alice.frame()["type"] != "moving":
        pass
    alice = back(guests, three, alice, acks=True, chat=chat, sent=1)
    alice.expect("welcome", resumed=True, patience=1)
    alice.expect("paired", chat=chat, resumed=True)
    alice.send("msg", id=2, text="after")
    bob.send("ack", id=1)
    while (frame := bob.frame())["type"] != "msg":
        assert frame["type"] in ("away", "back"), frame
    assert (frame["id"], frame["text"]) == (2, "after")
