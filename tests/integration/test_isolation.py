"""Two relays with different prefixes on one Redis know nothing of each other."""

import pytest

from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.node import Node


@pytest.fixture
def relays(start_node: StartNode, prefix: str) -> tuple[Node, Node]:
    return start_node(prefix=f"{prefix}-one"), start_node(prefix=f"{prefix}-two")


def test_a_name_can_be_owned_in_both(guests: Guests, relays: tuple[Node, Node]) -> None:
    for relay in relays:
        guests.text(relay, "alice")


def test_users_of_the_one_do_not_exist_in_the_other(guests: Guests, relays: tuple[Node, Node]) -> None:
    alice, bob = guests.json(relays[0], "alice"), guests.json(relays[1], "bob")
    alice.send("to", name="bob")
    alice.expect_error("no_such_user", name="bob")
    assert bob.who("alice") == "offline"


def test_chats_of_the_same_names_stay_apart(guests: Guests, relays: tuple[Node, Node]) -> None:
    pairs = [(guests.text(relay, "alice"), guests.text(relay, "bob")) for relay in relays]
    for alice, bob in pairs:
        alice.call("bob")
        bob.expect("* alice is chatting with you.")
    for n, (alice, _) in enumerate(pairs):
        alice.send(f"in relay {n}")
    for n, (_, bob) in enumerate(pairs):
        bob.expect_message("alice", f"in relay {n}")
    pairs[0][0].send("Quit")
    pairs[0][1].expect("Quit.")
    for client in pairs[1]:
        client.expect_nothing_so_far()


def test_nodes_of_one_prefix_do_know_each_other(guests: Guests, start_node: StartNode) -> None:
    one, other = start_node(), start_node()
    guests.text(one, "alice")
    guests.text(other).login("alice", "Reuse")
