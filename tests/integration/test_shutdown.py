"""A clean end: names are released, partners told, programs left to resume elsewhere, and the exit status is 0."""

import time

import pytest

from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import wait_until

LONG_LEASE = 20.0  # seconds; a name that is free sooner was released and its lease didn't lapse
AT_ONCE = 2.0  # seconds
DRAIN = 15.0  # seconds, the longest clean end once all clients have gone


@pytest.fixture
def staying(start_node: StartNode) -> Node:
    return start_node(lease=LONG_LEASE, grace=LONG_LEASE)


@pytest.fixture
def going(staying: Node, start_node: StartNode) -> Node:
    return start_node(lease=LONG_LEASE, grace=LONG_LEASE)


def end(node: Node, how: str) -> None:
    {"SIGTERM": node.terminate, "SIGHUP": node.hang_up, "Ctrl-C": node.interrupt}[how]()


@pytest.mark.parametrize("how", ["SIGTERM", "SIGHUP", "Ctrl-C"])  # these nodes have no files to read again
def test_an_idle_node_ends_cleanly(going: Node, how: str) -> None:
    end(going, how)
    assert going.wait(DRAIN) == 0
    assert "Traceback" not in going.text()


@pytest.mark.parametrize("how", ["SIGTERM", "SIGHUP", "Ctrl-C"])  # these nodes have no files to read again
def test_people_are_told_their_names_given_back_and_their_partners_told(
    guests: Guests, staying: Node, going: Node, how: str
) -> None:
    alice, bob = guests.text(going, "alice"), guests.text(staying, "bob")
    carol = guests.text(going, "carol")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    ended = time.monotonic()
    end(going, how)
    for client in (alice, carol):
        client.expect("* This node is going away; please reconnect.")
        client.expect_closed()
    bob.expect("Quit.")
    assert time.monotonic() - ended < AT_ONCE
    assert going.wait(DRAIN) == 0
    for name in ("alice", "carol"):
        guests.text(staying, name)
    assert "Traceback" not in going.text() + staying.text()


def test_partners_on_the_same_node_are_both_told(guests: Guests, going: Node) -> None:
    alice, bob = guests.text(going, "alice"), guests.text(going, "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    going.terminate()
    for client in (alice, bob):
        told = client.rest().decode().splitlines()
        assert told[-1] == "* This node is going away; please reconnect."
        assert set(told[:-1]) <= {"Quit."}
    assert going.wait(DRAIN) == 0


def test_programs_keep_their_names_and_their_partners_hear_that_they_are_away(
    guests: Guests, staying: Node, going: Node
) -> None:
    alice, bob = guests.json(going, "alice"), guests.json(staying, "bob")
    alice.call("bob")
    bob.expect("paired")
    going.terminate()
    alice.expect("moving")
    alice.close()
    bob.expect("away", name="alice")
    assert going.wait(DRAIN) == 0
    guests.text(staying).login("alice", "Reuse")
    assert bob.who("alice") == "away"


def test_a_program_is_served_on_until_it_has_gone(guests: Guests, staying: Node, start_node: StartNode) -> None:
    going = start_node(lease=LONG_LEASE, grace=LONG_LEASE, drain=LONG_LEASE)
    alice, bob = guests.json(going, "alice"), guests.json(staying, "bob")
    chat = alice.call("bob")["chat"]
    bob.expect("paired")
    going.terminate()
    alice.expect("moving")
    wait_until(lambda: going.readiness() == 404, "not ready")
    alice.send("msg", id=1, text="still here")
    bob.expect("msg", id=1, text="still here")
    bob.send("msg", id=1, text="so am I")
    assert {alice.frame()["type"] for _ in range(2)} == {"ack", "msg"}
    with pytest.raises(ConnectionRefusedError):
        guests.text(going)
    alice.close()
    ended = time.monotonic()
    assert going.wait(DRAIN) == 0
    assert time.monotonic() - ended < AT_ONCE
    again = guests.json(staying, "alice", token=alice.token, chat=chat, sent=1, last=1)
    assert again.expect("paired", chat=chat, resumed=True)["last"] == 1


def test_whoever_does_not_go_in_time_is_cut_off(guests: Guests, staying: Node, start_node: StartNode) -> None:
    going = start_node(lease=LONG_LEASE, grace=LONG_LEASE, drain=1)
    alice, tim = guests.json(going, "alice"), guests.text(going, "tim")
    going.terminate()
    alice.expect("moving")
    alice.expect_closed()
    tim.expect("* This node is going away; please reconnect.")
    tim.expect_closed()
    assert going.wait(DRAIN) == 0
    guests.text(staying, "tim")
    assert guests.json(staying, "bob").who("alice") == "away"


def test_the_port_is_closed_to_newcomers(guests: Guests, going: Node) -> None:
    going.terminate()
    assert going.wait(DRAIN) == 0
    with pytest.raises(ConnectionRefusedError):
        guests.text(going)


def test_messages_sent_before_the_end_are_delivered(guests: Guests, staying: Node, going: Node) -> None:
    alice, bob = guests.text(going, "alice"), guests.text(staying, "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    alice.send(*(f"line {n}" for n in range(100)))
    alice.expect_nothing_so_far()
    going.terminate()
    for n in range(100):
        bob.expect_message("alice", f"line {n}")
    bob.expect("Quit.")
