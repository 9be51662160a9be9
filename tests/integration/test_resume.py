"""Resume: a program whose connection or node was lost continues its session on any node."""

import pytest

from tests.integration.conftest import StartNode
from tests.support.clients import JsonClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import wait_until

Places = tuple[Node, Node]


@pytest.fixture(params=["the same node", "another node"])
def back_on(request: pytest.FixtureRequest, places: Places, nodes: list[Node]) -> Node:
    """The node to which the client returns."""
    return places[0] if request.param == "the same node" else nodes[2]


def chatting(guests: Guests, places: Places, *, acks: bool = False) -> tuple[JsonClient, JsonClient, str]:
    alice, bob = guests.json(places[0]), guests.json(places[1])
    alice.hello("alice", acks=acks)
    bob.hello("bob", acks=acks)
    chat = alice.call("bob")["chat"]
    bob.expect("paired")
    return alice, bob, str(chat)


def resume(guests: Guests, node: Node, old: JsonClient, **fields: object) -> JsonClient:
    """Resume with the token on a new connection."""
    client = guests.json(node)
    client.name, client.token = old.name, old.token
    client.send("hello", name=old.name, token=old.token, **fields)
    return client


def test_name_chat_and_ids_go_on(guests: Guests, places: Places, back_on: Node) -> None:
    alice, bob, chat = chatting(guests, places)
    alice.send("msg", id=1, text="one")
    bob.expect("msg", id=1, text="one")
    alice.expect("ack", id=1)
    alice.reset()
    bob.expect("away", name="alice")
    alice = resume(guests, back_on, alice, chat=chat, sent=1)
    alice.expect("welcome", name="alice", resumed=True, token=alice.token)
    alice.expect("paired", name="bob", chat=chat, resumed=True, last=1)
    bob.expect("back", name="alice")
    alice.send("msg", id=2, text="two")
    bob.expect("msg", id=2, text="two", chat=chat)
    alice.expect("ack", id=2, chat=chat)
    bob.send("msg", id=1, text="hi again")
    alice.expect("msg", id=1, text="hi again", chat=chat)
    bob.expect("ack", id=1)


def test_unacknowledged_messages_come_once_and_in_order(guests: Guests, places: Places, back_on: Node) -> None:
    alice, bob, chat = chatting(guests, places, acks=True)
    for n in (1, 2, 3):
        bob.send("msg", id=n, text=str(n))
        alice.expect("msg", id=n)
    alice.send("ack", id=1)
    bob.expect("ack", id=1)
    alice.reset()
    bob.expect("away")
    bob.send("msg", id=4, text="4")
    bob.expect_nothing_so_far()
    alice = resume(guests, back_on, alice, acks=True, chat=chat, last=2)
    alice.expect("welcome", resumed=True)
    alice.expect("paired", resumed=True)
    for n in (3, 4):
        alice.expect("msg", id=n, text=str(n))
    alice.send("ack", id=4)
    frames = []
    while (frame := bob.frame())["type"] != "ack" or frame["id"] < 4:
        frames.append(frame["type"])
    assert set(frames) <= {"back", "ack"}
    alice.expect_nothing_so_far()


def test_messages_that_the_client_says_again_arrive_once(guests: Guests, places: Places, back_on: Node) -> None:
    alice, bob, chat = chatting(guests, places, acks=True)
    for n in (1, 2, 3):
        alice.send("msg", id=n, text=str(n))
        bob.expect("msg", id=n)
    bob.send("ack", id=1)
    alice.expect("ack", id=1)
    alice.reset()
    bob.expect("away")
    alice = resume(guests, back_on, alice, acks=True, chat=chat, sent=4)
    alice.expect("welcome", resumed=True)
    last = alice.expect("paired", resumed=True)["last"]
    assert 1 <= last <= 3
    for n in range(last + 1, 5):  # 4 had never been sent
        alice.send("msg", id=n, text=str(n))
    bob.expect("back")
    bob.expect("msg", id=4, text="4")
    bob.send("ack", id=4)
    while alice.expect("ack")["id"] < 4:
        pass
    alice.send("msg", id=5, text="5")
    bob.expect("msg", id=5)


def test_the_old_connection_is_told_and_the_partner_hears_nothing(
    guests: Guests, places: Places, back_on: Node
) -> None:
    alice, bob, chat = chatting(guests, places)
    again = resume(guests, back_on, alice, chat=chat)
    again.expect("welcome", resumed=True)
    again.expect("paired", chat=chat, resumed=True)
    alice.expect("replaced")
    alice.expect_closed()
    bob.expect_nothing_so_far()
    again.send("msg", id=1, text="still here")
    bob.expect("msg", id=1, text="still here")


def test_after_the_chat_ended_the_client_hears_why(guests: Guests, places: Places, back_on: Node) -> None:
    alice, bob, chat = chatting(guests, places)
    alice.reset()
    bob.expect("away")
    bob.send("leave")
    bob.expect("left", name="alice", reason="left")
    alice = resume(guests, back_on, alice, chat=chat)
    alice.expect("welcome", resumed=True)
    alice.expect("left", name="bob", reason="left")
    alice.call("bob")
    bob.expect("paired", name="alice")


def test_every_bad_token_gets_the_same_answer(guests: Guests, places: Places, nodes: list[Node]) -> None:
    alice, bob, _ = chatting(guests, places)
    person = guests.text(places[0], "carol")
    good = str(alice.token)
    answers = []
    for node in nodes:
        for name, token in (
            ("alice", good[:-1]),
            ("alice", good + "x"),
            ("alice", ""),
            ("alice", str(bob.token)),
            ("carol", good),
            ("nobody", good),
        ):
            client = guests.json(node)
            client.send("hello", name=name, token=token)
            answer = client.expect("error", code="bad_token")
            answers.append((answer["code"], answer["message"]))
            client.close()
    assert len(set(answers)) == 1
    for client in (alice, bob):
        client.expect_nothing_so_far()
    person.expect_nothing_so_far()


@pytest.mark.parametrize("round", range(4))
def test_of_two_resumes_at_once_one_wins(guests: Guests, places: Places, nodes: list[Node], round: int) -> None:
    alice, bob, chat = chatting(guests, places)
    rivals = [resume(guests, node, alice, chat=chat) for node in (nodes[round % 2], nodes[2])]
    winners, losers = [], []
    for rival in rivals:
        frame = rival.frame()
        if frame["type"] == "welcome":
            rival.expect("paired", chat=chat)
            winners.append(rival)
        else:
            assert frame["type"] == "replaced" or frame["code"] == "bad_token"
            losers.append(rival)
    if not losers:
        wait_until(lambda: [rival for rival in winners if not speaks_to(rival, bob)], "one is replaced")
    assert sum(speaks_to(rival, bob) for rival in winners) == 1


def speaks_to(client: JsonClient, partner: JsonClient) -> bool:
    """Return whether the client still has the session."""
    try:
        client.send("who", name=str(partner.name))
        return bool(client.frame()["type"] == "presence")
    except (AssertionError, OSError):
        return False


@pytest.mark.parametrize(
    "killed", [*(pytest.param(whose, marks=pytest.mark.slow) for whose in ("the sender's", "the receiver's")), "both"]
)
def test_a_killed_node_loses_nothing(guests: Guests, start_node: StartNode, killed: str) -> None:
    one, two, three, four = (start_node() for _ in range(4))
    alice, bob, chat = chatting(guests, (one, two), acks=True)
    for n in range(1, 21):
        alice.send("msg", id=n, text=str(n))
    for n in range(1, 11):
        bob.expect("msg", id=n)
    bob.send("ack", id=5)
    alice.expect("ack", id=5)
    for node, dies in ((one, killed != "the receiver's"), (two, killed != "the sender's")):
        if dies:
            node.kill()
    got = list(range(1, 11))
    if killed != "the receiver's":
        alice = resume(guests, three, alice, acks=True, chat=chat, sent=20)
        alice.expect("welcome", resumed=True, patience=2)
    if killed != "the sender's":
        bob = resume(guests, four, bob, acks=True, chat=chat, last=10)
        bob.expect("welcome", resumed=True, patience=2)
        bob.expect("paired", chat=chat, resumed=True)
    if killed != "the receiver's":
        last = alice.expect("paired", chat=chat, resumed=True)["last"]
        for n in range(max(last, 5) + 1, 21):
            alice.send("msg", id=n, text=str(n))
    while got[-1] < 20:
        frame = bob.frame()
        if frame["type"] == "msg":
            got.append(frame["id"])
    assert got == list(range(1, 21))
    bob.send("ack", id=20)
    while (frame := alice.frame())["type"] != "ack" or frame["id"] < 20:
        assert frame["type"] in ("ack", "away", "back"), frame
