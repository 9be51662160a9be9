"""Both sides are told the same about a chat, a request, a message and its time, on real nodes."""

import json

from tests.cli.piped import Piped
from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import wait_until

WINDOW = 256


def test_texts_that_are_too_long_are_not_sent_and_nothing_else_changes(start_node: StartNode, guests: Guests) -> None:
    node = start_node(max_line=1024)
    bob = guests.json(node, "bob", acks=True)
    words = ["first", "second", "x" * 2000, "\x01" * 500, "last"]
    with Piped("alice", "--to", "bob", server=node.server) as alice:
        alice.type("".join(f"{word}\n" for word in words).encode())
        alice.end_input()
        bob.expect("paired")
        for id, text in enumerate(("first", "second", "last"), 1):
            bob.expect("msg", id=id, text=text)
            bob.send("ack", id=id)
        bob.expect("left", reason="quit")
        status, _, said = alice.ended()
    assert status == 1
    assert [line for line in said if "not sent" in line] == [
        "* Line 3 was not sent: it is too long",
        "* Line 4 was not sent: too long: a text and its frame may take 1024 bytes",
    ]


def test_a_line_that_is_too_long_says_which_message_it_was(guests: Guests, nodes: list[Node]) -> None:
    alice, bob = guests.json(nodes[0]), guests.json(nodes[1], "bob")
    limit = alice.hello("alice")["max_line"]
    alice.call("bob")
    bob.expect("paired")
    frame = '{"type":"msg","id":1,"text":"%s"}'
    longest = "x" * (limit - len(frame % ""))
    alice.send_line(frame % f"{longest}y")
    alice.expect_error("too_long", id=1)
    alice.send_line('{"type":"who","ref":"r","name":"%s"}' % ("x" * limit))
    alice.expect_error("too_long", id=None, ref="r")
    alice.send_line(frame % longest)
    bob.expect("msg", id=1, text=longest)
    alice.expect("ack", id=1)


def test_a_message_has_one_time_also_when_its_senders_node_dies(start_node: StartNode, guests: Guests) -> None:
    one, two = start_node(grace=20), start_node(grace=20)
    alice, bob = guests.json(one, "alice", acks=True), guests.json(two, "bob", acks=True)
    chat = alice.call("bob")["chat"]
    bob.expect("paired", chat=chat)
    alice.send("msg", id=1, text="first")
    alice.send("msg", id=2, text="second")
    times = {id: bob.expect("msg", id=id)["at"] for id in (1, 2)}
    bob.send("ack", id=1)
    alice.expect("ack", id=1, chat=chat, at=times[1])
    one.kill()
    again = guests.json(two)
    again.send("hello", name="alice", acks=True, token=alice.token, chat=chat, sent=2)
    again.expect("welcome", resumed=True)
    again.expect("paired", chat=chat, last=1, at=times[1])
    again.send("msg", id=1, text="first")
    again.expect("ack", id=1, at=times[1])
    again.send("msg", id=2, text="second")
    again.send("msg", id=3, text="third")
    while (heard := bob.frame())["type"] != "msg":
        assert heard["type"] in ("away", "back"), heard
        assert heard["chat"] == chat
    assert heard["id"] == 3
    assert heard["at"] > times[2]
    bob.send("ack", id=2)
    again.expect("ack", id=2, at=times[2])
    bob.send("ack", id=3)
    again.expect("ack", id=3, at=heard["at"])


def test_a_program_that_resumes_without_saying_how_far_it_had_come_is_heard(
    start_node: StartNode, guests: Guests
) -> None:
    one, two, three = (start_node(grace=20) for _ in range(3))
    alice, bob = guests.json(one, "alice", acks=True), guests.json(two, "bob", acks=True)
    chat = alice.call("bob")["chat"]
    bob.expect("paired")
    for id in (1, 2):
        alice.send("msg", id=id, text="before")
        bob.expect("msg", id=id)
    bob.reset()
    alice.expect("away", chat=chat)
    one.kill()
    again = guests.json(three)
    again.send("hello", name="alice", acks=True, token=alice.token, chat=chat)
    again.expect("welcome", resumed=True)
    again.expect("paired")
    again.expect("away", chat=chat)
    again.send("msg", id=3, text="after")
    back = guests.json(two)
    back.send("hello", name="bob", acks=True, token=bob.token, chat=chat, last=2)
    back.expect("welcome", resumed=True)
    back.expect("paired")
    back.expect("msg", id=3, text="after")
    back.send("ack", id=3)
    again.expect("back", chat=chat)
    assert again.frame()["id"] in (2, 3)


def test_the_rest_of_a_burst_behind_a_full_window_is_refused_alike(guests: Guests, places: tuple[Node, Node]) -> None:
    alice, bob = guests.json(places[0], "alice", acks=True), guests.json(places[1], "bob", acks=True)
    alice.call("bob")
    bob.expect("paired")
    burst = "".join(json.dumps({"type": "msg", "id": id, "text": "x"}) + "\n" for id in range(1, 301))
    alice.send_bytes(burst.encode())
    for id in range(WINDOW + 1, 301):
        alice.expect_error("window_full", id=id)
    for id in range(1, WINDOW + 1):
        bob.expect("msg", id=id)
    bob.send("ack", id=WINDOW)
    alice.expect_acked(WINDOW)
    alice.send_bytes("".join(burst.splitlines(keepends=True)[WINDOW:]).encode())
    for id in range(WINDOW + 1, 301):
        bob.expect("msg", id=id)
    bob.send("ack", id=300)
    alice.expect_acked(300)


def test_whoever_is_asked_about_a_call_is_busy_on_every_node_and_the_call_can_be_given_up(
    guests: Guests, nodes: list[Node]
) -> None:
    alice, bob, carol = guests.json(nodes[0], "alice"), guests.json(nodes[1]), guests.json(nodes[2], "carol")
    bob.hello("bob", ask=True)
    alice.send("to", name="bob", ref="r")
    chat = bob.expect("invited", name="alice")["chat"]
    alice.expect("ringing", name="bob", chat=chat, ref="r")
    assert carol.who("bob") == "busy"
    wait_until(lambda: carol.who("alice") == "busy", "so is the caller")
    carol.send("to", name="bob", ref=1)
    carol.expect_error("busy", name="bob", ref=1)
    alice.send("cancel")
    alice.expect_error("declined", name="bob", ref="r")
    bob.expect("missed", chat=chat)
    wait_until(lambda: [carol.who("bob"), carol.who("alice")] == ["free", "free"], "both are free")


def test_a_call_is_given_up_before_anybody_has_answered(guests: Guests, nodes: list[Node]) -> None:
    alice, bob = guests.json(nodes[0], "alice"), guests.json(nodes[1], "bob")
    for _ in range(20):  # either may be faster
        alice.send_bytes(b'{"type":"to","name":"bob","ref":1}\n{"type":"cancel","ref":1}\n')
        first = alice.frame()
        assert first["ref"] == 1
        if first["type"] == "paired":
            alice.send("leave", chat=first["chat"], ref=2)
            alice.expect("left", chat=first["chat"], ref=2)
            bob.expect("paired", chat=first["chat"])
            bob.expect("left", chat=first["chat"], ref=None)
        else:
            assert first["code"] == "declined"
    assert alice.who("bob") == "free"
    bob.expect_nothing_so_far()
