"""The JSON dialect: each frame and its answer."""

import time

import pytest

from tests.support.clients import JsonClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import wait_until

Places = tuple[Node, Node]

AT_ONCE = 1.0  # second

Pair = tuple[JsonClient, JsonClient, str]


@pytest.fixture
def pair(guests: Guests, places: Places) -> Pair:
    """Return alice, who has called bob, bob, and their chat."""
    alice, bob = guests.json(places[0], "alice"), guests.json(places[1], "bob")
    chat = alice.call("bob")["chat"]
    bob.expect("paired", name="alice", chat=chat)
    return alice, bob, chat


def test_hello_is_welcomed_with_all_that_a_client_needs_to_know(guests: Guests, node: Node) -> None:
    alice = guests.json(node)
    welcome = alice.hello("Alice", v=1)
    token = welcome.pop("token")
    assert isinstance(token, str)
    assert len(token) >= 16
    assert welcome == {
        "type": "welcome",
        "v": 1,
        "name": "Alice",
        "resumed": False,
        "grace": 2,
        "window": 256,
        "window_bytes": 1048576,
        "ping": 30,
        "node": node.name,
        "max_line": 65536,
    }


def test_tokens_differ(guests: Guests, node: Node) -> None:
    assert guests.json(node, "alice").token != guests.json(node, "bob").token


def test_an_unknown_version_is_refused_and_a_known_one_may_follow(guests: Guests, node: Node) -> None:
    alice = guests.json(node)
    alice.send("hello", v=2, name="alice")
    alice.expect_error("bad_version", supported=[1])
    alice.hello("alice", v=1)


def test_a_taken_name_is_refused_and_another_may_be_tried(guests: Guests, places: Places) -> None:
    guests.json(places[0], "alice")
    other = guests.json(places[1])
    other.send("hello", name="alice")
    other.expect_error("name_taken", name="alice")
    other.hello("alison")


def test_an_invalid_name_is_refused_and_another_may_be_tried(guests: Guests, node: Node) -> None:
    alice = guests.json(node)
    alice.send("hello", name="a{b}")
    alice.expect_error("name_invalid", name="a{b}")
    alice.hello("alice")


@pytest.mark.parametrize(("caller_acks", "callee_acks"), [(False, True), (True, False)])
def test_paired_tells_both_who_acknowledges(
    guests: Guests, places: Places, caller_acks: bool, callee_acks: bool
) -> None:
    alice, bob = guests.json(places[0], "alice", acks=caller_acks), guests.json(places[1], "bob", acks=callee_acks)
    by = {True: "client", False: "node"}
    chat = alice.call("bob")["chat"]
    bob.expect("paired", name="alice", chat=chat, acks=by[caller_acks], resumed=False)
    alice.send("to", name="bob")
    alice.expect("paired", name="bob", chat=chat, acks=by[callee_acks], resumed=False)


@pytest.mark.parametrize(
    ("name", "code"),
    [("nobody", "no_such_user"), ("alice", "self_chat"), ("a b", "name_invalid"), ("", "name_invalid")],
)
def test_a_call_that_cannot_be_is_refused_with_the_name(guests: Guests, node: Node, name: str, code: str) -> None:
    alice = guests.json(node, "alice")
    alice.send("to", name=name)
    alice.expect_error(code, name=name)
    alice.expect_nothing_so_far()


def test_a_call_to_a_busy_user_is_refused_and_noticed_by_nobody(guests: Guests, pair: Pair, nodes: list[Node]) -> None:
    alice, bob, _ = pair
    carol = guests.json(nodes[2], "carol")
    carol.send("to", name="bob")
    carol.expect_error("busy", name="bob")
    alice.expect_nothing_so_far()
    alice.send("msg", id=1, text="hi")
    bob.expect("msg", text="hi")
    bob.expect_nothing_so_far()


def test_a_program_whose_connection_broke_is_away_then_lost_and_its_name_free(guests: Guests, places: Places) -> None:
    alice, bob = guests.json(places[0], "alice"), guests.json(places[1], "bob")
    alice.call("bob")
    broken = time.monotonic()
    bob.reset()
    alice.expect("away", name="bob", grace=2)
    assert alice.who("bob") == "away"
    carol = guests.json(places[0], "carol")
    carol.send("to", name="bob")
    carol.expect_error("away", name="bob")
    carol.send("hello", name="bob")
    carol.expect_error("bad_frame", name="bob")
    alice.expect("left", name="bob", reason="lost")
    assert 1.5 < time.monotonic() - broken < 4, "after the grace"
    guests.text_when_free(places[0], "bob", AT_ONCE)


def test_a_message_arrives_with_id_sender_chat_and_time(pair: Pair) -> None:
    alice, bob, chat = pair
    alice.send("msg", id=1, text="hi")
    frame = bob.expect("msg", id=1, chat=chat, text="hi", from_="alice")
    assert abs(time.time() - frame["at"]) < 5
    assert set(frame) == {"type", "id", "from", "chat", "text", "at"}
    alice.expect("ack", id=1, chat=chat)


def test_ids_of_both_directions_are_apart(pair: Pair) -> None:
    alice, bob, _ = pair
    for n in (1, 2, 3):
        alice.send("msg", id=n, text="ping")
        bob.expect("msg", id=n, text="ping")
        alice.expect("ack", id=n)
        bob.send("msg", id=n, text="pong")
        alice.expect("msg", id=n, text="pong")
        bob.expect("ack", id=n)


def test_text_arrives_as_it_was_sent(pair: Pair) -> None:
    alice, bob, _ = pair
    texts = ["Grüße, 张三 👩‍👩‍👧 مرحبا", "one\ntwo\r\n", "To:bob", "Quit", "\x00\x1b[31m\u202e\u2028", " "]
    for id, text in enumerate(texts, 1):
        alice.send("msg", id=id, text=text)
        bob.expect("msg", id=id, text=text)
        alice.expect("ack", id=id)


def test_unknown_fields_are_ignored(guests: Guests, node: Node) -> None:
    alice, bob = guests.json(node), guests.json(node, "bob")
    alice.hello("alice", mood="good", v=1)
    alice.send("to", name="bob", loudly=True)
    alice.expect("paired", name="bob")
    alice.send("msg", id=1, text="hi", deep={"er": [1, 2, {"x": None}]})
    bob.expect("paired")
    bob.expect("msg", text="hi")


def test_leave_ends_the_chat_and_keeps_the_name(pair: Pair) -> None:
    alice, bob, chat = pair
    alice.send("leave")
    alice.expect("left", name="bob", reason="left")
    bob.expect("left", name="alice", reason="left")
    wait_until(lambda: alice.who("bob") == bob.who("alice") == "free", "both are free", AT_ONCE)
    assert bob.call("alice")["chat"] != chat, "each pairing has a chat of its own"


def test_leave_without_a_chat_is_refused(guests: Guests, node: Node) -> None:
    alice = guests.json(node, "alice")
    alice.send("leave")
    alice.expect_error("not_paired")
    alice.expect_nothing_so_far()


def test_presence_is_told_to_whoever_asks(guests: Guests, pair: Pair, nodes: list[Node]) -> None:
    alice, bob, _ = pair
    carol = guests.json(nodes[2], "carol")
    assert carol.who("alice") == "busy"
    bob.send("quit")
    bob.expect("bye")
    alice.expect("left", reason="quit")
    wait_until(lambda: carol.who("alice") == "free", "alice is free", AT_ONCE)
    assert carol.who("bob") == "offline"


def test_ping_is_answered_with_pong(guests: Guests, node: Node) -> None:
    alice = guests.json(node, "alice")
    for _ in range(3):
        alice.send("ping")
        alice.expect("pong")


def test_quit_gives_the_name_back_and_closes_after_the_outcome_of_everything(guests: Guests, pair: Pair) -> None:
    alice, bob, _ = pair
    for n in range(1, 101):
        alice.send("msg", id=n, text=str(n))
    alice.send("quit")
    alice.expect_acked(100)
    alice.expect("bye")
    alice.expect_closed()
    for n in range(1, 101):
        bob.expect("msg", id=n, text=str(n))
    bob.expect("left", name="alice", reason="quit")
    assert bob.who("alice") == "offline"


def test_a_switch_tells_the_old_partner_and_opens_a_new_chat(guests: Guests, pair: Pair, nodes: list[Node]) -> None:
    alice, bob, chat = pair
    carol = guests.json(nodes[2], "carol")
    alice.send("to", name="carol")
    frames = [alice.frame()]
    if frames[0]["type"] == "left":  # the protocol leaves it open whether the user who switches is told that it left
        frames.append(alice.frame())
    paired = frames[-1]
    assert (paired["type"], paired["name"]) == ("paired", "carol")
    assert paired["chat"] != chat
    carol.expect("paired", name="alice", chat=paired["chat"])
    bob.expect("left", name="alice", reason="left")


def test_a_partner_of_another_dialect_can_not_acknowledge_so_its_node_does(guests: Guests, places: Places) -> None:
    alice, bob = guests.json(places[0], "alice"), guests.text(places[1], "bob")
    alice.send("to", name="bob")
    chat = alice.expect("paired", name="bob", acks="node")["chat"]
    bob.expect("* alice is chatting with you.")
    alice.send("msg", id=1, text="hi")
    bob.expect_message("alice", "hi")
    alice.expect("ack", id=1, chat=chat)


def test_a_name_is_shown_as_its_owner_typed_it(guests: Guests, places: Places) -> None:
    alice, bob = guests.json(places[0], "Alice"), guests.json(places[1], "BoB")
    alice.send("to", name="bOb")
    alice.expect("paired", name="BoB")
    bob.expect("paired", name="Alice")
    bob.send("msg", id=1, text="hi")
    alice.expect("msg", from_="BoB")
    alice.send("who", name="BOB")
    alice.expect("presence", state="busy")
