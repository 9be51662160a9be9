"""Names: one owner in the whole cluster, compared in canonical form; look-alikes and hostile names are refused."""

import time
import unicodedata

import pytest

from tests.support.clients import TextClient
from tests.support.guests import Guests
from tests.support.node import Node

Places = tuple[Node, Node]

CROWD = 200  # clients at each node

HOSTILE = {
    "braces": "a{b}",
    "colon": "a:b",
    "space inside": "al ice",
    "no-break space": "al\xa0ice",
    "ideographic space": "al\u3000ice",
    "NUL": "al\x00ice",
    "escape": "al\x1b[2Jice",
    "DEL": "al\x7fice",
    "C1 control": "al\x9bice",
    "right-to-left override": "al\u202eice",
    "zero width space": "al\u200bice",
    "line separator": "al\u2028ice",
    "33 characters": 33 * "a",
    "10,000 characters": 10_000 * "a",
    "40 combining marks": "a" + 40 * "\u0301",
    "Cyrillic look-alike": "\u0430dmin",
    "Greek look-alike": "b\u03bfb",
    "Lisu look-alike": "\ua4ee",
    "unassigned": "a\u0378b",
    "private use": "a\ue000b",
    "glob": "*{",
    "redis key": "relay:{p1}:user:alice",
}


def test_a_single_client_of_a_crowd_gets_the_name_and_all_others_reuse_within_a_second(
    guests: Guests, nodes: list[Node]
) -> None:
    crowd = [guests.text(node) for node in nodes for _ in range(CROWD)]
    started = time.monotonic()
    for client in crowd:
        client.name = "alice"
        client.send("alice")
    replies = [client.line() for client in crowd]
    took = time.monotonic() - started
    assert replies.count("OK") == 1
    assert replies.count("Reuse") == len(crowd) - 1
    assert took < 1.0


def test_a_crowd_with_many_names_gets_each_name_once(guests: Guests, nodes: list[Node]) -> None:
    crowd = [(guests.text(node), f"user{n}") for n in range(50) for node in nodes]
    for client, name in crowd:
        client.name = name
        client.send(name)
    canonical_name = [name for client, name in crowd if client.line() == "OK"]
    assert sorted(canonical_name) == sorted({name for _, name in crowd})


def test_a_name_that_was_given_back_can_be_claimed_anywhere(guests: Guests, places: Places) -> None:
    for n in range(20):
        alice = guests.text(places[n % 2], "alice")
        alice.send("Quit")
        alice.expect("Quit")
        alice.expect_closed()


@pytest.mark.parametrize(
    ("canonical_name", "claimed"),
    [
        ("Alice", "alice"),
        ("Zoé", unicodedata.normalize("NFD", "zoé")),
        ("Ж\u03bf", "жo"),
    ],
    ids=["case", "composition", "Greek o, Latin o"],
)
def test_forms_of_one_name_have_one_owner(guests: Guests, apart: Places, canonical_name: str, claimed: str) -> None:
    guests.text(apart[0], canonical_name)
    guests.text(apart[1]).login(claimed, "Reuse")


@pytest.mark.parametrize(("one", "other"), [("l0", "lo"), ("Zoé", "Zoe")])
def test_different_names_have_different_owners(guests: Guests, apart: Places, one: str, other: str) -> None:
    guests.text(apart[0], one)
    guests.text(apart[1], other)


@pytest.mark.parametrize("name", ["a", 32 * "张", "مريم", "to"])
def test_good_names_are_taken_and_can_be_called_and_shown(guests: Guests, apart: Places, name: str) -> None:
    owner, caller = guests.text(apart[0], name), guests.text(apart[1], "the-caller")
    caller.call(name)
    owner.expect("* the-caller is chatting with you.")
    owner.send("hi")
    caller.expect_message(name, "hi")


def test_hostile_names_are_refused_to_people_and_touch_nothing(guests: Guests, node: Node) -> None:
    guests.text(node, "alice")
    client = guests.text(node)
    for name in HOSTILE.values():
        client.send(name)
        assert client.expect_notice().isprintable(), "a notice quotes no control"
    client.login("bob")
    for name in HOSTILE.values():
        client.send(f"To:{name}")
        client.expect_notice()
    client.call("alice")


def test_hostile_names_are_refused_to_programs_and_touch_nothing(guests: Guests, node: Node) -> None:
    client = guests.json(node)
    for name in (*HOSTILE.values(), "", "Quit"):
        client.send("hello", name=name)
        client.expect_error("name_invalid", name=name)
    client.hello("bob")
    for name in (*HOSTILE.values(), "", "Quit"):
        for frame in ("to", "who"):
            client.send(frame, name=name)
            client.expect_error("name_invalid", name=name)
    client.expect_nothing_so_far()


def test_a_caller_may_type_any_form_of_a_name(guests: Guests, places: Places) -> None:
    alice, bob = guests.text(places[0], "Alice"), guests.text(places[1], "bob")
    bob.send("To:aLICE")
    bob.expect("* You are chatting with Alice.")
    alice.expect("* bob is chatting with you.")


def test_an_owner_can_not_be_robbed_by_its_own_name(guests: Guests, places: Places) -> None:
    alice, bob = guests.text(places[0], "alice"), guests.text(places[1], "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    thieves = [TextClient(place.address) for place in places for _ in range(10)]
    for thief in thieves:
        thief.login("alice", "Reuse")
        thief.name = None
        thief.close()
    alice.send("still me")
    bob.expect_message("alice", "still me")
