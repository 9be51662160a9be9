"""Every row of the text dialect's table, to the letter."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.clients import ALONE, NO_SELF_TALK, TextClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.rows import each_row

Places = tuple[Node, Node]
MAX_LINE = 65536  # bytes, the default of --max-line


@pytest.fixture
def alice(guests: Guests, places: Places) -> TextClient:
    return guests.text(places[0], "alice")


@pytest.fixture
def bob(guests: Guests, places: Places) -> TextClient:
    return guests.text(places[1], "bob")


@pytest.fixture
def pair(alice: TextClient, bob: TextClient) -> tuple[TextClient, TextClient]:
    """Return a pair in which alice has called bob."""
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    return alice, bob


def test_a_free_name_is_ok(guests: Guests, node: Node) -> None:
    alice = guests.text(node)
    alice.login("alice")
    alice.expect_nothing_so_far()


def test_a_taken_name_is_reuse_and_another_may_be_tried(guests: Guests, places: Places) -> None:
    guests.text(places[0], "alice")
    other = guests.text(places[1])
    other.login("alice", "Reuse")
    other.login("alice", "Reuse")
    other.login("alison")


def test_an_invalid_name_gets_a_notice_and_another_may_be_tried(guests: Guests, node: Node) -> None:
    alice = guests.text(node)
    alice.send("To:bob")
    alice.expect_notice()
    alice.login("alice")


@pytest.mark.parametrize("first", ["", "Quit"])
def test_an_empty_first_line_or_quit_closes(guests: Guests, node: Node, first: str) -> None:
    client = guests.text(node)
    client.send(first)
    client.expect_closed()


def test_quit_after_a_refused_name_closes(guests: Guests, node: Node) -> None:
    guests.text(node, "alice")
    other = guests.text(node)
    other.login("alice", "Reuse")
    other.send("Quit")
    other.expect_closed()


def test_a_call_to_a_free_user_pairs_both(alice: TextClient, bob: TextClient) -> None:
    alice.send("To:bob")
    alice.expect("* You are chatting with bob.")
    bob.expect("* alice is chatting with you.")


def test_white_space_around_the_called_name_is_ignored(alice: TextClient, bob: TextClient) -> None:
    alice.send("To: \t bob  ")
    alice.expect("* You are chatting with bob.")
    bob.expect("* alice is chatting with you.")


def test_a_call_to_no_name_or_an_invalid_one_gets_a_notice(guests: Guests, node: Node) -> None:
    alice = guests.text(node, "alice")
    for call in ("To:", "To:   ", "To:a b", "To:a:b", "To:{}", "To:Quit", "To:" + 33 * "x", "To:a\x00b"):
        alice.send(call)
        alice.expect_notice()
        alice.expect_nothing_so_far()


def test_a_call_to_oneself_is_refused_in_the_original_words(guests: Guests, node: Node) -> None:
    alice = guests.text(node, "Alice")
    alice.send("To:Alice", "To:alice")
    alice.expect(NO_SELF_TALK, NO_SELF_TALK)


def test_a_call_to_nobody_is_refused_in_the_original_words(guests: Guests, node: Node) -> None:
    alice = guests.text(node, "alice")
    alice.send("To:bob")
    alice.expect("the user bob is not exist")


def test_a_call_to_a_busy_user_is_refused_and_noticed_by_nobody(
    guests: Guests, pair: tuple[TextClient, TextClient], nodes: list[Node]
) -> None:
    alice, bob = pair
    carol = guests.text(nodes[2], "carol")
    for name in ("alice", "bob"):
        carol.send(f"To:{name}")
        carol.expect(f"* {name} is talking with someone else.")
    alice.send("still here?")
    bob.expect_message("alice", "still here?")
    alice.expect_nothing_so_far()


def test_a_call_to_one_who_is_away_is_refused(guests: Guests, places: Places) -> None:
    bob = guests.json(places[1], "bob")
    alice = guests.text(places[0], "alice")
    alice.call("bob")
    bob.reset()
    alice.expect("* bob is away.")
    carol = guests.text(places[0], "carol")
    carol.send("To:bob")
    carol.expect("* bob is away.")


def test_text_reaches_the_partner_with_name_and_ctime_in_utc(pair: tuple[TextClient, TextClient]) -> None:
    alice, bob = pair
    alice.send("hi bob")
    at = bob.expect_message("alice", "hi bob")
    assert abs(datetime.now(UTC) - at) < timedelta(seconds=5)
    bob.send("hi alice: you?")
    alice.expect_message("bob", "hi alice: you?")


@each_row("text", ["Grüße, 张三 👩‍👩‍👧 مرحبا", "to:bob", " Quit", "quit", "* OK", "{not json", "  two  spaces  "])
def test_text_arrives_as_typed(pair: tuple[TextClient, TextClient], text: str) -> None:
    alice, bob = pair
    alice.send(text)
    bob.expect_message("alice", text)


def test_a_carriage_return_before_the_line_feed_is_dropped(guests: Guests, node: Node) -> None:
    alice, bob = guests.text(node), guests.text(node, "bob")
    alice.name = "alice"
    alice.send_bytes(b"alice\r\nTo:bob\r\nhi\r\n")
    alice.expect("OK", "* You are chatting with bob.")
    bob.expect("* alice is chatting with you.")
    bob.expect_message("alice", "hi")


def test_text_to_nobody_is_refused_in_the_original_words(guests: Guests, node: Node) -> None:
    alice = guests.text(node, "alice")
    alice.send("anybody?")
    alice.expect(ALONE)


def test_an_empty_line_later_on_is_ignored(pair: tuple[TextClient, TextClient]) -> None:
    alice, bob = pair
    alice.send("", "one", "", "two")
    bob.expect_message("alice", "one")
    bob.expect_message("alice", "two")
    alice.expect_nothing_so_far()


def test_a_switch_tells_the_old_partner(guests: Guests, pair: tuple[TextClient, TextClient], nodes: list[Node]) -> None:
    alice, bob = pair
    carol = guests.text(nodes[2], "carol")
    alice.call("carol")
    carol.expect("* alice is chatting with you.")
    bob.expect("* alice left the chat.")
    bob.send("hello?")
    bob.expect(ALONE)
    alice.send("hi carol")
    carol.expect_message("alice", "hi carol")


def test_quit_is_answered_and_told(pair: tuple[TextClient, TextClient]) -> None:
    alice, bob = pair
    alice.send("Quit")
    alice.expect("Quit")
    alice.expect_closed()
    bob.expect("Quit.")
    bob.send("hello?")
    bob.expect(ALONE)


@pytest.mark.parametrize("end", ["close", "finish", "reset"])
def test_the_end_of_the_connection_is_told_as_quit(pair: tuple[TextClient, TextClient], end: str) -> None:
    alice, bob = pair
    getattr(alice, end)()
    bob.expect("Quit.")
    bob.send("hello?")
    bob.expect(ALONE)


def test_a_line_of_the_greatest_length_arrives(pair: tuple[TextClient, TextClient]) -> None:
    alice, bob = pair
    alice.send(MAX_LINE * "x")
    bob.expect_message("alice", MAX_LINE * "x")


@each_row("length", [MAX_LINE + 1, 2 * MAX_LINE, 10 * MAX_LINE])
def test_a_line_too_long_is_refused_and_the_next_one_arrives(pair: tuple[TextClient, TextClient], length: int) -> None:
    alice, bob = pair
    alice.send(length * "x", "short")
    alice.expect_notice("long")
    bob.expect_message("alice", "short")


def test_a_line_that_is_not_utf8_is_refused_and_the_next_one_arrives(pair: tuple[TextClient, TextClient]) -> None:
    alice, bob = pair
    alice.send_bytes(b"caf\xe9\nfine\n")
    alice.expect_notice("utf-8")
    bob.expect_message("alice", "fine")


@each_row(
    ("text", "shown"),
    [
        ("a\x1b[31mred", r"a\x1b[31mred"),
        ("a\x00b", r"a\x00b"),
        ("a\x07b", r"a\x07b"),
        ("a\rb", r"a\x0db"),
        ("a\x7fb", r"a\x7fb"),
        ("a\x9b31m", r"a\x9b31m"),
        ("a\u202eb", r"a\u202eb"),
        ("a\u2066b", r"a\u2066b"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
    ],
)
def test_controls_arrive_escaped(pair: tuple[TextClient, TextClient], text: str, shown: str) -> None:
    alice, bob = pair
    alice.send(text)
    bob.expect_message("alice", shown)


def test_line_feeds_of_a_program_arrive_as_several_stamped_lines(guests: Guests, places: Places) -> None:
    alice, bob = guests.json(places[0], "alice"), guests.text(places[1], "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    alice.send("msg", id=1, text="one\nQuit.\n* three")
    for line in ("one", "Quit.", "* three"):
        bob.expect_message("alice", line)
