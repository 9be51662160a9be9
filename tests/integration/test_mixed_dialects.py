"""Any dialect chats with any other."""

import itertools

import pytest

from tests.support.clients import ClassicClient, Client, JsonClient, TextClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import wait_until

Places = tuple[Node, Node]

DIALECTS = ("text", "json", "web", "classic")
MIXED = [pytest.param(*both, id=" to ".join(both)) for both in itertools.product(DIALECTS, repeat=2)]


def enter(guests: Guests, node: Node, dialect: str, name: str) -> Client:
    client: Client = getattr(guests, dialect)(node, name)
    return client


def call(caller: Client, name: str) -> None:
    if isinstance(caller, JsonClient | TextClient):
        caller.call(name)
    else:
        caller.send(f"To:{name}")


def hear_call(callee: Client, name: str) -> None:
    if isinstance(callee, JsonClient):
        callee.expect("paired", name=name)
    elif isinstance(callee, TextClient):
        callee.expect(f"* {name} is chatting with you.")


def say(client: Client, n: int, text: str) -> None:
    if isinstance(client, JsonClient):
        client.send("msg", id=n, text=text)
    else:
        client.send(text)


def hear(client: Client, sender: str, text: str) -> None:
    if isinstance(client, JsonClient):
        while (frame := client.frame())["type"] == "ack":
            pass
        assert (frame["type"], frame["from"], frame["text"]) == ("msg", sender, text)
    else:
        client.expect_message(sender, text)


def go(client: Client) -> None:
    if isinstance(client, JsonClient):
        client.send("quit")
    else:
        client.send("Quit")


def hear_gone(client: Client, name: str) -> None:
    if isinstance(client, JsonClient):
        while (frame := client.frame())["type"] == "ack":
            pass
        assert (frame["type"], frame["name"], frame["reason"]) == ("left", name, "quit")
    else:
        client.expect("Quit.")


@pytest.mark.parametrize(("first", "second"), MIXED)
def test_any_dialect_chats_with_any_other(guests: Guests, places: Places, first: str, second: str) -> None:
    alice, bob = enter(guests, places[0], first, "alice"), enter(guests, places[1], second, "bob")
    watcher = guests.json(places[0], "watcher")
    call(alice, "bob")
    hear_call(bob, "alice")
    wait_until(lambda: watcher.who("alice") == watcher.who("bob") == "busy", "they are paired")
    for n in (1, 2, 3):
        say(alice, n, f"question {n} 🦜")
        hear(bob, "alice", f"question {n} 🦜")
        say(bob, n, f"answer {n}")
        hear(alice, "bob", f"answer {n}")
    go(alice)
    hear_gone(bob, "alice")
    wait_until(lambda: watcher.who("alice") == "offline", "alice's name is given back")
    wait_until(lambda: watcher.who("bob") == "free", "bob is free")


@pytest.mark.parametrize("dialect", ["text", "classic"])
def test_a_partner_who_can_resume_is_away_and_then_gone(guests: Guests, places: Places, dialect: str) -> None:
    alice = enter(guests, places[0], dialect, "alice")
    bob = guests.json(places[1], "bob")
    bob.call("alice")
    hear_call(alice, "bob")
    bob.reset()
    assert isinstance(alice, TextClient | ClassicClient)
    alice.expect("* bob is away.", "Quit.")


@pytest.mark.parametrize("dialect", ["text", "classic"])
def test_a_program_that_leaves_is_told_to_people_as_having_left(guests: Guests, places: Places, dialect: str) -> None:
    alice = enter(guests, places[0], dialect, "alice")
    bob = guests.json(places[1], "bob")
    bob.call("alice")
    hear_call(alice, "bob")
    bob.send("leave")
    bob.expect("left", reason="left")
    assert isinstance(alice, TextClient | ClassicClient)
    alice.expect("* bob left the chat.")
