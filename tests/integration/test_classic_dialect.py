"""The classic dialect: the unchanged original client, on its own port."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients import ALONE, NO_SELF_TALK, ClassicClient, JsonClient, parse_stamped
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import PATIENCE, wait_until

Places = tuple[Node, Node]

AT_ONCE = 1.0  # second
Pair = tuple[ClassicClient, ClassicClient]

ORIGINAL = Path(__file__).parents[1] / "fixtures" / "classic_client.py"


@pytest.fixture
def watcher(guests: Guests, nodes: list[Node]) -> JsonClient:
    """Observe what the classic dialect doesn't tell. Two sends in a row could be read as one, so a test has to wait."""
    return guests.json(nodes[2], "watcher")


@pytest.fixture
def pair(guests: Guests, places: Places, watcher: JsonClient) -> Pair:
    """Return a pair whose chat alice has called."""
    alice, bob = guests.classic(places[0], "alice"), guests.classic(places[1], "bob")
    alice.send("To:bob")
    wait_until(lambda: watcher.who("alice") == "busy", "alice has a partner")
    return alice, bob


def test_names_are_ok_or_reuse(guests: Guests, places: Places) -> None:
    guests.classic(places[0], "alice")
    other = guests.classic(places[1])
    other.login("alice", "Reuse")
    other.login("alison")


def test_an_invalid_name_gets_a_notice_and_another_may_be_tried(guests: Guests, node: Node) -> None:
    alice = guests.classic(node)
    alice.send("a{b}")
    assert alice.read().startswith("* ")
    alice.login("alice")


def test_quit_instead_of_a_name_closes(guests: Guests, node: Node) -> None:
    client = guests.classic(node)
    client.send("Quit")
    client.expect_closed()


def test_a_successful_call_is_told_to_nobody(pair: Pair) -> None:
    alice, bob = pair
    alice.expect_nothing_so_far()
    bob.expect_nothing_so_far()
    bob.send("hi")
    alice.expect_message("bob", "hi")


def test_chats_go_both_ways_without_line_ends(pair: Pair) -> None:
    alice, bob = pair
    for n in range(10):
        alice.send(f"question {n}")
        bob.expect_message("alice", f"question {n}")
        bob.send(f"answer {n}")
        alice.expect_message("bob", f"answer {n}")


def test_refusals_are_in_the_original_words(guests: Guests, pair: Pair, nodes: list[Node]) -> None:
    carol = guests.classic(nodes[2], "carol")
    for said, reply in (
        ("To:carol", NO_SELF_TALK),
        ("To:nobody", "the user nobody is not exist"),
        ("To:bob", "* bob is talking with someone else."),
        ("hello?", ALONE),
    ):
        carol.send(said)
        carol.expect(reply)


def test_quit_is_answered_and_told(pair: Pair) -> None:
    alice, bob = pair
    alice.send("Quit")
    alice.expect("Quit")
    alice.expect_closed()
    bob.expect("Quit.")
    bob.send("hello?")
    bob.expect(ALONE)


@pytest.mark.parametrize("end", ["finish", "close", "reset"])
def test_the_end_of_the_connection_is_told_as_quit_and_the_name_is_free(
    guests: Guests, pair: Pair, places: Places, end: str
) -> None:
    alice, bob = pair
    getattr(alice, end)()
    bob.expect("Quit.")
    guests.text_when_free(places[1], "alice", AT_ONCE)


def test_a_switch_tells_the_old_partner(guests: Guests, pair: Pair, nodes: list[Node]) -> None:
    alice, bob = pair
    carol = guests.classic(nodes[2], "carol")
    alice.send("To:carol")
    bob.expect("* alice left the chat.")
    carol.expect_nothing_so_far()
    carol.send("hi alice")
    alice.expect_message("carol", "hi alice")


def test_controls_arrive_escaped_and_what_is_not_utf8_is_refused(pair: Pair) -> None:
    alice, bob = pair
    alice.send("a\x1b[31mred")
    bob.expect_message("alice", r"a\x1b[31mred")
    alice.send_bytes(b"caf\xe9")
    assert "utf-8" in alice.read().casefold()
    alice.send("fine")
    bob.expect_message("alice", "fine")


def test_replies_carry_no_line_end(guests: Guests, node: Node) -> None:
    alice = guests.classic(node, "alice")
    alice.send("hello?")
    assert alice.read() == ALONE
    alice.send("Quit")
    assert alice.rest() == b"Quit"


class Original:
    """The fixture client as a separate program, with a person at its keyboard."""

    def __init__(self, node: Node) -> None:
        host, port = node.classic_address
        command = [sys.executable, str(ORIGINAL), host, str(port)]
        self.program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def type(self, line: str) -> None:
        assert self.program.stdin
        self.program.stdin.write(line + "\n")
        self.program.stdin.flush()

    def shown(self) -> str:
        assert self.program.stdout
        return self.program.stdout.readline().rstrip("\n")

    def end(self) -> None:
        self.program.kill()
        self.program.communicate()


@pytest.fixture
def originals(places: Places) -> Iterator[tuple[Original, Original]]:
    both = Original(places[0]), Original(places[1])
    yield both
    for original in both:
        original.end()


def test_the_original_client_logs_in_calls_chats_and_quits(
    originals: tuple[Original, Original], watcher: JsonClient
) -> None:
    alice, bob = originals
    for original, name in ((alice, "alice"), (bob, "bob")):
        original.type(name)
        assert original.shown() == "OK"
    alice.type("To:alice")
    assert alice.shown() == NO_SELF_TALK
    alice.type("To:bob")
    wait_until(lambda: watcher.who("bob") == "busy", "they are paired")
    alice.type("hi bob")
    assert parse_stamped(bob.shown())[1:] == ("alice", "hi bob")
    bob.type("hi alice")
    assert parse_stamped(alice.shown())[1:] == ("bob", "hi alice")
    alice.type("Quit")
    assert alice.shown() == "Quit"
    assert alice.program.wait(PATIENCE) == 0
    assert bob.shown() == "Quit."
    bob.type("Quit")
    assert bob.shown() == "Quit"
    assert bob.program.wait(PATIENCE) == 0


def test_the_original_client_tries_another_name(
    guests: Guests, originals: tuple[Original, Original], node: Node
) -> None:
    guests.text(node, "alice")
    alice, _ = originals
    alice.type("alice")
    assert alice.shown() == "Reuse"
    alice.type("alison")
    assert alice.shown() == "OK"
