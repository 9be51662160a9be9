"""Lines that are sent in one write are handled strictly in order, up to the end of the connection."""

import pytest

from tests.support.clients import ALONE
from tests.support.guests import Guests
from tests.support.node import Node

Places = tuple[Node, Node]


@pytest.mark.parametrize("hang_up", [False, True], ids=["connection kept", "EOF behind it"])
def test_a_whole_chat_in_one_write_is_delivered(guests: Guests, places: Places, hang_up: bool) -> None:
    bob = guests.text(places[1], "bob")
    alice = guests.text(places[0])
    alice.send_bytes(b"alice\nTo:bob\nhi\nQuit\n")
    if hang_up:
        alice.finish()
    bob.expect("* alice is chatting with you.")
    bob.expect_message("alice", "hi")
    bob.expect("Quit.")
    alice.expect("OK", "* You are chatting with bob.", "Quit")
    alice.expect_closed()
    guests.text(places[1], "alice")


def test_eof_behind_text_counts_as_quit_in_its_turn(guests: Guests, places: Places) -> None:
    bob = guests.text(places[1], "bob")
    alice = guests.text(places[0])
    alice.name = "alice"
    alice.send_bytes(b"alice\nTo:bob\n" + b"".join(b"line %d\n" % n for n in range(100)))
    alice.finish()
    bob.expect("* alice is chatting with you.")
    for n in range(100):
        bob.expect_message("alice", f"line {n}")
    bob.expect("Quit.")
    alice.expect("OK", "* You are chatting with bob.")
    alice.expect_closed()


def test_eof_behind_frames_begins_the_grace_in_its_turn(guests: Guests, places: Places) -> None:
    bob = guests.json(places[1], "bob")
    alice = guests.json(places[0])
    alice.send_bytes(
        b'{"type":"hello","name":"alice"}\n{"type":"to","name":"bob"}\n'
        + b"".join(b'{"type":"msg","id":%d,"text":"m"}\n' % n for n in range(1, 101))
    )
    alice.name = "alice"
    alice.finish()
    bob.expect("paired", name="alice")
    for n in range(1, 101):
        bob.expect("msg", id=n)
    bob.expect("away", name="alice")
    bob.expect("left", name="alice", reason="lost")


def test_everything_in_one_write_has_its_outcome_in_order(guests: Guests, places: Places) -> None:
    guests.json(places[1], "bob")
    alice = guests.json(places[0])
    alice.name = "alice"
    frames = [
        '{"type":"ping"}',
        '{"type":"hello","name":"alice"}',
        '{"type":"msg","id":1,"text":"to nobody"}',
        '{"type":"who","name":"bob"}',
        '{"type":"to","name":"nobody"}',
        '{"type":"to","name":"bob"}',
        '{"type":"who","name":"bob"}',
        '{"type":"leave"}',
        '{"type":"leave"}',
        '{"type":"ping"}',
        '{"type":"quit"}',
    ]
    alice.send_line("\n".join(frames))
    alice.expect_error("bad_frame")
    alice.expect("welcome")
    alice.expect_error("not_paired", id=1)
    alice.expect("presence", state="free")
    alice.expect_error("no_such_user", name="nobody")
    alice.expect("paired", name="bob")
    alice.expect("presence", state="busy")
    alice.expect("left", reason="left")
    alice.expect_error("not_paired")
    alice.expect("pong")
    alice.expect("bye")
    alice.expect_closed()


def test_the_line_after_a_refused_name_is_the_next_try(guests: Guests, places: Places) -> None:
    guests.text(places[1], "alice")
    client = guests.text(places[0])
    client.name = "alison"
    client.send("alice", "alice", "alison", "hello?")
    client.expect("Reuse", "Reuse", "OK", ALONE)


def test_a_switch_takes_its_place_behind_the_messages_before_it(
    guests: Guests, nodes: list[Node], places: Places
) -> None:
    bob, carol = guests.text(places[1], "bob"), guests.text(nodes[2], "carol")
    alice = guests.text(places[0], "alice")
    alice.send("To:bob", *(f"bob {n}" for n in range(50)), "To:carol", *(f"carol {n}" for n in range(50)))
    bob.expect("* alice is chatting with you.")
    carol.expect("* alice is chatting with you.")
    for n in range(50):
        bob.expect_message("alice", f"bob {n}")
        carol.expect_message("alice", f"carol {n}")
    bob.expect("* alice left the chat.")
    alice.expect("* You are chatting with bob.", "* You are chatting with carol.")


def test_many_messages_keep_their_order_both_ways(guests: Guests, places: Places) -> None:
    alice, bob = guests.text(places[0], "alice"), guests.text(places[1], "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    for start in range(0, 5000, 500):
        for client in (alice, bob):
            client.send(*(f"{client.name} {n}" for n in range(start, start + 500)))
        for client, other in ((alice, "bob"), (bob, "alice")):
            for n in range(start, start + 500):
                client.expect_message(other, f"{other} {n}")


def test_a_fragment_at_eof_is_dropped(guests: Guests, places: Places) -> None:
    alice, bob = guests.text(places[0], "alice"), guests.text(places[1], "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    alice.send_bytes(b"whole\nfragm")
    alice.finish()
    bob.expect_message("alice", "whole")
    bob.expect("Quit.")


def test_a_fragment_before_a_reset_is_dropped(guests: Guests, places: Places) -> None:
    alice, bob = guests.text(places[0], "alice"), guests.text(places[1], "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    alice.send_bytes(b"whole\nfragm")
    bob.expect_message("alice", "whole")
    alice.reset()
    bob.expect("Quit.")


def test_a_line_may_come_byte_by_byte(guests: Guests, places: Places) -> None:
    bob = guests.text(places[1], "bob")
    alice = guests.text(places[0])
    alice.name = "alice"
    for byte in "alice\r\nTo:bob\r\n張三 🦜\r\n".encode():
        alice.send_bytes(bytes([byte]))
    alice.expect("OK", "* You are chatting with bob.")
    bob.expect("* alice is chatting with you.")
    bob.expect_message("alice", "張三 🦜")
