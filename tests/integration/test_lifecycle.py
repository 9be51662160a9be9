"""Every end of a connection is reported at once, and releases everything that it should."""

import time

import pytest

from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.node import Node

Places = tuple[Node, Node]

AT_ONCE = 1.0  # seconds; well below any lease or grace here
NAME_TIME = 60.0  # seconds until a connection without a name is closed


@pytest.mark.parametrize("end", ["Quit", "finish", "close", "reset"])
@pytest.mark.parametrize("dialect", ["text", "classic"])
def test_a_persons_end_is_told_at_once_and_the_name_is_free(
    guests: Guests, places: Places, dialect: str, end: str
) -> None:
    alice, bob = getattr(guests, dialect)(places[0], "alice"), guests.text(places[1], "bob")
    bob.call("alice")
    if dialect == "text":
        alice.expect("* bob is chatting with you.")
    ended = time.monotonic()
    alice.send("Quit") if end == "Quit" else getattr(alice, end)()
    bob.expect("Quit.")
    assert time.monotonic() - ended < AT_ONCE
    guests.text_when_free(places[1], "alice", AT_ONCE)
    assert time.monotonic() - ended < AT_ONCE


@pytest.mark.parametrize("end", ["finish", "close", "reset"])
def test_a_programs_lost_connection_is_told_at_once_and_keeps_the_name_for_its_grace(
    guests: Guests, places: Places, end: str
) -> None:
    alice, bob = guests.json(places[0], "alice"), guests.json(places[1], "bob")
    bob.call("alice")
    alice.expect("paired")
    ended = time.monotonic()
    getattr(alice, end)()
    bob.expect("away", name="alice")
    assert time.monotonic() - ended < AT_ONCE
    guests.text(places[1]).login("alice", "Reuse")
    bob.expect("left", name="alice", reason="lost")
    guests.text_when_free(places[1], "alice", AT_ONCE)


def test_a_programs_quit_is_told_at_once_and_the_name_is_free(guests: Guests, places: Places) -> None:
    alice, bob = guests.json(places[0], "alice"), guests.json(places[1], "bob")
    bob.call("alice")
    alice.expect("paired")
    ended = time.monotonic()
    alice.send("quit")
    alice.expect("bye")
    alice.expect_closed()
    bob.expect("left", name="alice", reason="quit")
    guests.json(places[1], "alice")
    assert time.monotonic() - ended < AT_ONCE


def test_a_user_whose_partner_left_is_free_for_the_next(guests: Guests, places: Places, nodes: list[Node]) -> None:
    bob = guests.text(places[1], "bob")
    for n in range(10):
        visitor = guests.text(nodes[n % 3], f"visitor{n}")
        visitor.call("bob")
        bob.expect(f"* visitor{n} is chatting with you.")
        visitor.send("hi")
        bob.expect_message(f"visitor{n}", "hi")
        visitor.close()
        bob.expect("Quit.")


def test_connections_that_come_and_go_leave_nothing(guests: Guests, nodes: list[Node]) -> None:
    """The check after each test counts the sockets and the users."""
    for n in range(100):
        client = guests.text(nodes[n % 3])
        client.send_bytes((b"", b"fragment", b"{", b'{"type":"hello","name":', b"half\xff")[n % 5])
        client.reset() if n % 2 else client.close()


def test_a_login_that_hangs_up_at_once_leaves_nothing(guests: Guests, nodes: list[Node]) -> None:
    for n in range(60):
        client = guests.text(nodes[n % 3])
        client.name = f"brief{n}"
        client.send(f"brief{n}", f"To:brief{n - 1}", "hi")
        client.reset() if n % 2 else client.close()


@pytest.mark.slow
def test_a_connection_that_sends_no_name_is_closed_after_a_minute(guests: Guests, node: Node) -> None:
    started = time.monotonic()
    silent, fragment, refused = guests.text(node), guests.text(node), guests.json(node)
    classic = guests.classic(node)
    fragment.send_bytes(b"alic")
    refused.send("ping")
    refused.expect_error("bad_frame")
    named = guests.text(node, "bob")
    for client in (silent, fragment, refused, classic):
        client.rest(NAME_TIME + 5)
        assert NAME_TIME - 1 < time.monotonic() - started < NAME_TIME + 5
    named.expect_nothing_so_far()


def test_a_node_on_more_than_this_machine_warns_that_nothing_is_encrypted(start_node: StartNode) -> None:
    start_node(host="0.0.0.0").wait_for_line("unencrypted")
    quiet = start_node()
    assert quiet.address[0] == "127.0.0.1"
    quiet.terminate()
    quiet.wait()
    assert "unencrypted" not in quiet.text()
