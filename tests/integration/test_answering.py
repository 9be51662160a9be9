"""Calls that are answered or blocked, and the sign of typing, on one node and across two."""

from tests.support.guests import Guests
from tests.support.node import Node

Places = tuple[Node, Node]


def test_a_call_is_accepted_by_a_client_that_asks(places: Places, guests: Guests) -> None:
    alice, bob = guests.json(places[0], "alice"), guests.json(places[1], "bob", ask=True)
    alice.send("to", name="bob")
    alice.expect("ringing", name="bob", wait=30)
    invited = bob.expect("invited", name="alice", wait=30)
    bob.expect_nothing_so_far()
    bob.send("accept", chat=invited["chat"])
    alice.expect("paired", name="bob", chat=invited["chat"])
    bob.expect("paired", name="alice", chat=invited["chat"])
    alice.send("msg", id=1, text="hi")
    bob.expect("msg", text="hi")


def test_a_call_is_declined_or_given_up(places: Places, guests: Guests) -> None:
    alice, bob = guests.json(places[0], "alice"), guests.json(places[1], "bob", ask=True)
    alice.send("to", name="bob")
    alice.expect("ringing")
    bob.expect("invited")
    bob.send("decline")
    alice.expect_error("declined", name="bob")
    alice.send("to", name="bob")
    alice.expect("ringing")
    chat = bob.expect("invited")["chat"]
    alice.send("cancel")
    alice.expect_error("declined", name="bob")
    bob.expect("missed", name="alice", chat=chat)
    bob.send("accept")
    bob.expect_error("not_called")


def test_a_text_client_calls_a_client_that_asks(places: Places, guests: Guests) -> None:
    alice, bob = guests.text(places[0], "alice"), guests.json(places[1], "bob", ask=True)
    alice.send("To:bob")
    alice.send("hi")
    alice.expect("* bob is being asked.")
    bob.expect("invited", name="alice")
    bob.send("accept")
    alice.expect("* You are chatting with bob.")
    bob.expect("paired", name="alice")
    bob.expect("msg", text="hi")


def test_a_caller_whose_connection_breaks_stops_ringing(places: Places, guests: Guests) -> None:
    alice, bob = guests.text(places[0], "alice"), guests.json(places[1], "bob", ask=True)
    alice.send("To:bob")
    alice.expect("* bob is being asked.")
    bob.expect("invited")
    alice.reset()
    bob.expect("missed", name="alice")


def test_a_blocked_caller_hears_busy(places: Places, guests: Guests) -> None:
    alice, bob, carol = guests.json(places[0], "alice"), guests.json(places[1], "bob"), guests.text(places[0], "carol")
    for name in ("Alice", "carol"):
        bob.send("block", name=name)
        bob.expect("blocked", name=name)
    alice.send("to", name="bob")
    alice.expect_error("busy", name="bob")
    carol.send("To:bob")
    carol.expect("* bob is talking with someone else.")
    bob.expect_nothing_so_far()
    bob.send("unblock", name="alice")
    bob.expect("unblocked", name="alice")
    alice.call("bob")
    bob.expect("paired", name="alice")


def test_typing_reaches_a_program_and_no_person(places: Places, guests: Guests) -> None:
    alice, bob = guests.json(places[0], "alice"), guests.json(places[1], "bob")
    chat = alice.call("bob")["chat"]
    bob.expect("paired")
    alice.send("typing")
    bob.expect("typing", name="alice", chat=chat)
    alice.send("msg", id=1, text="hi")
    bob.expect("msg", id=1)
    alice.expect("ack", id=1)
    carol, dave = guests.json(places[0], "carol"), guests.text(places[1], "dave")
    carol.call("dave")
    dave.expect_notice("carol")
    carol.send("typing")
    carol.send("msg", id=1, text="hi")
    dave.expect_message("carol", "hi")
