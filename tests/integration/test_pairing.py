"""Pairing: a user has at most one partner, and it is symmetric, whatever calls come at the same moment."""

import pytest

from tests.support.clients import Frame, JsonClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import wait_until

Places = tuple[Node, Node]

ROUNDS = 30  # rounds of simultaneous calls; each takes a few milliseconds


class Caller:
    """A program that remembers what it was told about its chat."""

    def __init__(self, client: JsonClient) -> None:
        self.client = client
        self.name = client.name
        self.partner: str | None = None
        self.chat: str | None = None
        self.refusals: list[str] = []

    def call(self, name: str) -> None:
        self.client.send("to", name=name)

    def catch_up(self) -> list[Frame]:
        """Read until the outcome of every call of this program is known."""
        frames = self.client.frames_so_far()
        for frame in frames:
            if frame["type"] == "paired":
                self.partner, self.chat = frame["name"], frame["chat"]
            elif frame["type"] == "left":
                self.partner = self.chat = None
            elif frame["type"] == "error":
                self.refusals.append(frame["code"])
        return frames

    def leave(self) -> None:
        self.catch_up()
        if self.chat:
            self.client.send("leave")


def symmetric(callers: list[Caller]) -> bool:
    """Return whether each chat has exactly two users, who name each other."""
    for caller in callers:
        caller.catch_up()
    by_name = {caller.name: caller for caller in callers}
    paired = [caller for caller in callers if caller.partner]
    return all(
        by_name[caller.partner].partner == caller.name and by_name[caller.partner].chat == caller.chat
        for caller in paired
        if caller.partner
    )


def settle(callers: list[Caller]) -> list[Caller]:
    """Wait until nobody is half paired. Returns the paired users."""
    wait_until(lambda: symmetric(callers), "pairs are symmetric")
    return [caller for caller in callers if caller.partner]


def part(callers: list[Caller]) -> None:
    """Have everybody leave, so that all are free for the next round."""
    for caller in callers:
        caller.leave()
    wait_until(lambda: not settle(callers), "all are alone")
    for caller in callers:
        assert caller.name
        wait_until(lambda caller=caller: caller.client.who(caller.name) == "free", f"{caller.name} is free")  # type: ignore[misc]
        caller.refusals.clear()


def crowd(guests: Guests, places: Places | list[Node], size: int) -> list[Caller]:
    return [Caller(guests.json(places[n % len(places)], f"user{n}")) for n in range(size)]


def test_mutual_calls_at_the_same_moment_become_one_pair(guests: Guests, places: Places) -> None:
    alice, bob = crowd(guests, places, 2)
    for _ in range(ROUNDS):
        alice.call("user1")
        bob.call("user0")
        told = [caller.catch_up() for caller in (alice, bob)]
        assert settle([alice, bob]) == [alice, bob]
        assert alice.refusals == bob.refusals == []
        chats = {frame["chat"] for frames in told for frame in frames}
        assert chats == {alice.chat}, "one chat, and nobody heard of another"
        part([alice, bob])


def test_mutual_calls_are_told_once_to_each(guests: Guests, places: Places) -> None:
    """A user is told twice only if its call came after the other's succeeded: then it is a call of its partner."""
    alice, bob = crowd(guests, places, 2)
    for _ in range(ROUNDS):
        alice.call("user1")
        bob.call("user0")
        told = [len(alice.catch_up()), len(bob.catch_up())]
        settle([alice, bob])
        assert 1 in told, "at least the one whose call made the pair hears of it once"
        assert max(told) <= 2
        part([alice, bob])


@pytest.mark.parametrize("size", [3, 4, 5, 6])
def test_calls_in_a_ring_leave_nobody_half_paired(guests: Guests, nodes: list[Node], places: Places, size: int) -> None:
    ring = crowd(guests, places if places[0] is places[1] else nodes, size)
    for _ in range(ROUNDS):
        for n, caller in enumerate(ring):
            caller.call(f"user{(n + 1) % size}")
        paired = settle(ring)
        assert len(paired) in range(0, size + 1, 2)
        for caller in ring:
            assert set(caller.refusals) <= {"busy"}, "a caller is paired or told busy"
        part(ring)


def test_a_ring_of_three_leaves_at_most_one_pair_and_each_caller_has_an_outcome(
    guests: Guests, nodes: list[Node]
) -> None:
    ring = crowd(guests, nodes, 3)
    for _ in range(ROUNDS):
        for n, caller in enumerate(ring):
            caller.call(f"user{(n + 1) % 3}")
        told = [caller.catch_up() for caller in ring]
        assert all(told), "nobody's call went without an outcome"
        assert len(settle(ring)) <= 2
        part(ring)


def test_many_who_call_one_leave_it_with_one_partner(guests: Guests, places: Places) -> None:
    star, *fans = crowd(guests, places, 9)
    for _ in range(ROUNDS):
        for fan in fans:
            fan.call("user0")
        paired = settle([star, *fans])
        assert len(paired) == 2
        assert sorted(fan.refusals for fan in fans) == [[], *(len(fans) - 1) * [["busy"]]]
        part([star, *fans])


def test_a_chat_can_not_be_stolen_and_notices_no_attempt(guests: Guests, places: Places, nodes: list[Node]) -> None:
    alice, bob = guests.json(places[0], "alice"), guests.json(places[1], "bob")
    chat = alice.call("bob")["chat"]
    bob.expect("paired")
    thieves = [guests.json(node, f"thief{n}") for n, node in enumerate(nodes)]
    for n in range(1, 21):
        for thief in thieves:
            for name in ("alice", "bob"):
                thief.send("to", name=name)
        alice.send("msg", id=n, text=str(n))
        bob.expect("msg", id=n, text=str(n), chat=chat)
        alice.expect("ack", id=n)
    for thief in thieves:
        refusals = [frame["code"] for frame in thief.frames_so_far()]
        assert refusals == 40 * ["busy"]
    alice.expect_nothing_so_far()
    bob.expect_nothing_so_far()


def test_a_refused_switch_leaves_the_old_chat_as_it_was(guests: Guests, places: Places, nodes: list[Node]) -> None:
    alice, bob = guests.json(places[0], "alice"), guests.json(places[1], "bob")
    carol, dave = guests.json(nodes[2], "carol"), guests.json(places[0], "dave")
    chat = alice.call("bob")["chat"]
    bob.expect("paired")
    carol.call("dave")
    dave.expect("paired")
    for name, code in (("carol", "busy"), ("nobody", "no_such_user"), ("alice", "self_chat"), ("a b", "name_invalid")):
        alice.send("to", name=name)
        alice.expect_error(code, name=name)
    alice.send("msg", id=1, text="still here")
    bob.expect("msg", text="still here", chat=chat)
    for untouched in (bob, carol, dave):
        untouched.expect_nothing_so_far()


def test_the_present_partner_called_again_is_confirmed_and_hears_nothing(guests: Guests, places: Places) -> None:
    alice, bob = guests.json(places[0], "alice"), guests.json(places[1], "bob")
    chat = alice.call("bob")["chat"]
    bob.expect("paired", chat=chat)
    assert alice.call("bob")["chat"] == chat
    assert bob.call("alice")["chat"] == chat
    alice.expect_nothing_so_far()
    bob.expect_nothing_so_far()
    alice.send("msg", id=1, text="hi")
    bob.expect("msg", id=1, chat=chat)


def test_nothing_of_a_chat_that_is_over_reaches_the_next(guests: Guests, places: Places, nodes: list[Node]) -> None:
    alice, bob = guests.json(places[0], "alice"), guests.json(places[1], "bob")
    carol = guests.json(nodes[2], "carol")
    said = 0
    for _ in range(ROUNDS):
        old = alice.call("bob")["chat"]
        bob.expect("paired", chat=old)
        for _ in range(5):
            said += 1
            alice.send("msg", id=said, text="for bob", chat=old)
        alice.send("to", name="carol")
        new = carol.expect("paired", name="alice")["chat"]
        said += 1
        alice.send("msg", id=said, text="for carol", chat=new)
        carol.expect("msg", text="for carol", chat=new)
        heard = []
        while (frame := bob.frame())["type"] == "msg":
            heard.append((frame["text"], frame["chat"]))
        assert set(heard) == {("for bob", old)}
        assert (frame["type"], frame["reason"]) == ("left", "left")
        carol.send("leave")
        carol.expect("left")
        while (frame := alice.frame())["type"] != "left" or frame["name"] != "carol":
            assert frame["type"] in ("ack", "unconfirmed", "left", "paired")
