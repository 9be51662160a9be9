"""Ids and windows: which frames take an id, what is sent again, and which client has to wait."""

import pytest

from tests.support.clients import JsonClient
from tests.support.guests import Guests
from tests.support.node import Node

Places = tuple[Node, Node]
Pair = tuple[JsonClient, JsonClient, str]

WINDOW = 256  # messages
WINDOW_BYTES = 1048576


def pair_up(guests: Guests, places: Places, *, alice_acks: bool = False, bob_acks: bool = False) -> Pair:
    alice = guests.json(places[0], "alice", acks=alice_acks)
    bob = guests.json(places[1], "bob", acks=bob_acks)
    chat = alice.call("bob")["chat"]
    bob.expect("paired", name="alice")
    return alice, bob, chat


def say(client: JsonClient, first: int, last: int) -> None:
    client.send_bytes(b"".join(b'{"type":"msg","id":%d,"text":"m%d"}\n' % (n, n) for n in range(first, last + 1)))


def hear(client: JsonClient, first: int, last: int) -> None:
    for n in range(first, last + 1):
        client.expect("msg", id=n, text=f"m{n}")


def test_a_jump_in_the_ids_is_refused_with_the_expected_one(guests: Guests, apart: Places) -> None:
    alice, bob, _ = pair_up(guests, apart)
    alice.send("msg", id=2, text="too early")
    alice.expect_error("bad_order", id=2, expected=1)
    say(alice, 1, 1)
    hear(bob, 1, 1)
    alice.expect_acked(1)
    alice.send("msg", id=5, text="too early")
    alice.expect_error("bad_order", id=5, expected=2)
    say(alice, 2, 2)
    hear(bob, 2, 2)
    alice.expect_acked(2)


@pytest.mark.parametrize("wrong", [0, -1, 2**53, 2**63, 2**64])
def test_an_impossible_id_is_refused_and_takes_no_id(guests: Guests, apart: Places, wrong: int) -> None:
    alice, bob, _ = pair_up(guests, apart)
    alice.send("msg", id=wrong, text="impossible")
    assert alice.expect("error")["code"] in ("bad_order", "bad_frame")
    say(alice, 1, 1)
    hear(bob, 1, 1)


def test_a_message_to_nobody_takes_no_id(guests: Guests, node: Node) -> None:
    alice = guests.json(node, "alice")
    say(alice, 1, 1)
    alice.expect_error("not_paired", id=1)
    bob = guests.json(node, "bob")
    alice.call("bob")
    bob.expect("paired")
    say(alice, 1, 1)
    hear(bob, 1, 1)


def test_an_acknowledged_id_sent_again_is_acknowledged_again_and_arrives_once(guests: Guests, apart: Places) -> None:
    alice, bob, chat = pair_up(guests, apart)
    say(alice, 1, 3)
    hear(bob, 1, 3)
    alice.expect_acked(3)
    say(alice, 2, 2)
    frame = alice.expect("ack", chat=chat)
    assert frame["id"] >= 2, "an ack covers everything up to its id"
    say(alice, 4, 4)
    hear(bob, 4, 4)


def test_an_id_under_way_sent_again_is_ignored(guests: Guests, apart: Places) -> None:
    alice, bob, _ = pair_up(guests, apart, alice_acks=True, bob_acks=True)
    say(alice, 1, 2)
    hear(bob, 1, 2)
    say(alice, 1, 2)
    alice.expect_nothing_so_far()
    say(alice, 3, 3)
    hear(bob, 3, 3)
    bob.send("ack", id=3)
    alice.expect_acked(3)


def test_another_text_under_an_id_under_way_is_refused(guests: Guests, apart: Places) -> None:
    alice, bob, _ = pair_up(guests, apart, alice_acks=True, bob_acks=True)
    say(alice, 1, 1)
    hear(bob, 1, 1)
    alice.send("msg", id=1, text="something else")
    alice.expect_error("bad_order", id=1)
    say(alice, 2, 2)
    hear(bob, 2, 2)


def test_ids_rise_through_the_session_across_chats(guests: Guests, apart: Places) -> None:
    alice, bob, _ = pair_up(guests, apart)
    say(alice, 1, 2)
    hear(bob, 1, 2)
    alice.expect_acked(2)
    alice.send("leave")
    alice.expect("left")
    bob.expect("left")
    alice.call("bob")
    bob.expect("paired")
    alice.send("msg", id=1, text="m1")
    assert alice.expect("ack")["id"] >= 1, "its outcome is known and repeated"
    say(alice, 3, 3)
    hear(bob, 3, 3)


def test_a_message_for_a_chat_that_is_over_takes_its_id_and_is_unconfirmed(guests: Guests, apart: Places) -> None:
    alice, bob, chat = pair_up(guests, apart)
    bob.send("leave")
    alice.expect("left", reason="left")
    alice.send("msg", id=1, text="too late", chat=chat)
    alice.expect("unconfirmed", to=1, reason="left", from_=1)
    bob.expect("left")
    alice.call("bob")
    bob.expect("paired")
    alice.send("msg", id=2, text="still too late", chat=chat)
    assert alice.expect("unconfirmed", from_=2)["to"] == 2
    alice.send("msg", id=2, text="still too late", chat=chat)
    alice.expect("unconfirmed", from_=2)
    alice.send("msg", id=3, text="in time")
    bob.expect("msg", id=3, text="in time")


def test_messages_under_way_when_the_partner_leaves_are_acked_or_unconfirmed(guests: Guests, places: Places) -> None:
    alice, bob, _ = pair_up(guests, places, bob_acks=True)
    say(alice, 1, 3)
    hear(bob, 1, 3)
    bob.send("ack", id=1)
    bob.send("leave")
    alice.expect_acked(1)
    ends = [alice.frame(), alice.frame()]
    unconfirmed, left = sorted(ends, key=lambda frame: frame["type"] == "left")
    assert (left["type"], left["reason"]) == ("left", "left")
    got = [unconfirmed.get(key) for key in ("type", "from", "to", "reason")]
    assert got == ["unconfirmed", 2, 3, "left"]


def test_acks_are_the_clients_own_where_it_said_so(guests: Guests, places: Places) -> None:
    alice, bob, chat = pair_up(guests, places, bob_acks=True)
    say(alice, 1, 5)
    hear(bob, 1, 5)
    bob.send("ack", id=2, chat="of another time")
    bob.send("ack", id=3, chat=chat)
    alice.expect_acked(3)
    bob.send("ack", id=2)
    bob.send("ack", id=5)
    alice.expect("ack", id=5, chat=chat)


def test_a_window_full_is_told_to_a_client_that_acknowledges_and_reading_goes_on(
    guests: Guests, places: Places
) -> None:
    alice, bob, _ = pair_up(guests, places, alice_acks=True, bob_acks=True)
    say(alice, 1, WINDOW + 1)
    alice.expect_error("window_full", id=WINDOW + 1)
    hear(bob, 1, WINDOW)
    alice.expect_nothing_so_far()
    bob.send("msg", id=1, text="take this")
    alice.expect("msg", id=1, text="take this")
    alice.send("ack", id=1)
    bob.expect_acked(1)
    bob.send("ack", id=WINDOW)
    alice.expect_acked(WINDOW)
    say(alice, WINDOW + 1, WINDOW + 1)
    hear(bob, WINDOW + 1, WINDOW + 1)


def test_two_full_windows_are_no_deadlock(guests: Guests, places: Places) -> None:
    alice, bob, _ = pair_up(guests, places, alice_acks=True, bob_acks=True)
    for client in (alice, bob):
        say(client, 1, WINDOW)
    for client in (alice, bob):
        hear(client, 1, WINDOW)
    for client in (alice, bob):
        client.send("ack", id=WINDOW)
    for client in (alice, bob):
        client.expect_acked(WINDOW)


def test_the_window_is_bounded_in_bytes_too(guests: Guests, places: Places) -> None:
    alice, bob, _ = pair_up(guests, places, alice_acks=True, bob_acks=True)
    size = 60_000
    fitting = WINDOW_BYTES // size
    for n in range(1, fitting + 1):
        alice.send("msg", id=n, text=size * "x")
        bob.expect("msg", id=n)
    alice.send("msg", id=fitting + 1, text=size * "x")
    alice.expect_error("window_full", id=fitting + 1)
    bob.send("ack", id=1)
    alice.expect_acked(1)
    alice.send("msg", id=fitting + 1, text=size * "x")
    bob.expect("msg", id=fitting + 1)


def test_of_any_other_client_the_node_stops_reading_until_there_is_room(guests: Guests, places: Places) -> None:
    alice, bob, _ = pair_up(guests, places, bob_acks=True)
    say(alice, 1, WINDOW + 44)
    alice.send("ping")
    hear(bob, 1, WINDOW)
    bob.expect_nothing_so_far()
    bob.send("ack", id=WINDOW)
    alice.expect_acked(WINDOW)
    hear(bob, WINDOW + 1, WINDOW + 44)
    alice.expect("pong")
    bob.send("ack", id=WINDOW + 44)
    alice.expect("ack", id=WINDOW + 44)


def test_a_text_sender_is_slowed_and_nothing_is_dropped(guests: Guests, places: Places) -> None:
    alice = guests.text(places[0], "alice")
    bob = guests.json(places[1], "bob", acks=True)
    alice.call("bob")
    bob.expect("paired")
    alice.send(*(f"m{n}" for n in range(1, 1001)))
    for first in range(1, 1001, 200):
        hear(bob, first, first + 199)
        bob.send("ack", id=first + 199)
    alice.expect_nothing_so_far()


def test_a_partner_that_does_not_read_slows_the_sender_and_gets_everything_later(
    guests: Guests, places: Places
) -> None:
    alice, bob, _ = pair_up(guests, places)
    alice.socket.settimeout(1)
    sent, text = 0, 50_000 * "x"
    try:
        while sent < 2000:
            alice.send("msg", id=sent + 1, text=text)
            sent += 1
    except TimeoutError:
        pass
    assert sent < 2000, "100 MB for one who does not read must not fit anywhere"
    for n in range(1, sent + 1):
        bob.expect("msg", id=n, text=text)
