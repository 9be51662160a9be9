"""The relay in ten minutes: read it from top to bottom, every line of it runs.

There are two nodes, `one` and `two`, which share a Redis. `nc(one)` is a person with netcat at the first node, and
`program(two)` a program that speaks JSON to the second. The lines that they `send` and `expect` are those on the wire.
Each `expect` checks the very next line, so a client that should hear nothing really hears nothing.

docs/protocol.md has all lines, and docs/guarantees.md the promises, which tests/integration checks to the letter.
"""

from collections.abc import Callable

from tests.support.clients import JsonClient, TextClient
from tests.support.node import Node
from tests.support.server import RedisServer

Nc = Callable[..., TextClient]
Program = Callable[..., JsonClient]


def test_1_a_name_is_one_persons_whichever_node_is_asked(one: Node, two: Node, nc: Nc) -> None:
    alice = nc(one)
    alice.send("alice")  # the first line is a name
    alice.expect("OK")

    stranger = nc(two)
    stranger.send("Alice")  # the same name, however it is written
    stranger.expect("Reuse")
    stranger.send("bob")
    stranger.expect("OK")


def test_2_a_call_makes_two_people_a_pair(one: Node, two: Node, nc: Nc) -> None:
    alice, bob = nc(one, "alice"), nc(two, "bob")
    alice.send("To:bob")
    alice.expect("* You are chatting with bob.")
    bob.expect("* alice is chatting with you.")

    bob.send("hi alice 👋")  # from now on, what one of them says the other hears
    alice.expect_message("bob", "hi alice 👋")  # [Mon Nov 23 06:33:32 2026] bob: (hi alice 👋)

    alice.send("Quit")
    alice.expect("Quit")
    alice.expect_closed()
    bob.expect("Quit.")  # bob is still there, and free


def test_3_who_has_a_partner_is_busy_and_is_not_disturbed(one: Node, two: Node, nc: Nc) -> None:
    alice, bob, carol = nc(one, "alice"), nc(two, "bob"), nc(one, "carol")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")

    carol.send("To:bob")
    carol.expect("* bob is talking with someone else.")
    carol.send("Can anybody hear me?")
    carol.expect("Nobody is chating with you. Maybe the one talked with you is talking with someone else")

    alice.send("where were we?")
    bob.expect_message("alice", "where were we?")  # the next thing that he hears: nothing of carol


def test_4_a_program_knows_what_the_other_program_has(one: Node, two: Node, program: Program) -> None:
    alice, bob = program(one), program(two)
    for client, name in ((alice, "alice"), (bob, "bob")):
        client.send("hello", name=name, acks=True)  # with `acks` a program acknowledges for itself
        client.expect("welcome", name=name)

    alice.send("to", name="bob")
    chat = alice.expect("paired", name="bob", acks="client")["chat"]
    bob.expect("paired", name="alice", chat=chat)

    alice.send("msg", id=1, text="Please write this to your disk.")
    bob.expect("msg", from_="alice", id=1, text="Please write this to your disk.")
    alice.expect_nothing_so_far()  # it has reached him, and that is not enough
    bob.send("ack", id=1)
    alice.expect("ack", id=1, chat=chat)


def test_5_a_node_dies_and_its_program_goes_on_at_another(one: Node, two: Node, program: Program) -> None:
    alice, bob = program(one, "alice", acks=True), program(two, "bob", acks=True)
    chat = alice.call("bob")["chat"]
    bob.expect("paired", name="alice")
    alice.send("msg", id=1, text="I am about to say something important.")
    bob.expect("msg", id=1)
    bob.send("msg", id=1, text="Yes?")
    alice.expect("msg", id=1, text="Yes?")
    alice.send("ack", id=1)
    bob.expect("ack", id=1)

    one.kill()  # kill -9, and bob's program has not acknowledged hers
    bob.expect("away", name="alice")

    again = program(two)  # any node will do; what alice's program remembers makes it alice
    again.send("hello", name="alice", acks=True, token=alice.token, chat=chat, sent=1, last=1)
    again.expect("welcome", resumed=True, node="two")
    again.expect("paired", name="bob", chat=chat, resumed=True, last=0)  # `last`: what bob acknowledged
    bob.expect("back", name="alice")

    again.send("msg", id=1, text="I am about to say something important.")  # to be sure; he won't hear it twice
    again.send("msg", id=2, text="I love you.")
    bob.expect("msg", id=2, text="I love you.")
    bob.send("ack", id=2)
    again.expect_acked(2)


def test_6_a_person_whose_node_dies_has_left_and_the_name_is_free(
    one: Node, two: Node, nc: Nc, nc_when_free: Nc
) -> None:
    alice, bob = nc(one, "alice"), nc(two, "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")

    one.kill()
    bob.expect("Quit.")  # netcat has no token to come back by

    alice = nc_when_free(two, "alice")  # within a lease (5 s, unless the nodes are told otherwise) and a second
    alice.call("bob")
    bob.expect("* alice is chatting with you.")


def test_7_redis_forgets_everything_and_nobody_loses_anything(one: Node, two: Node, nc: Nc, redis: RedisServer) -> None:
    alice, bob = nc(one, "alice"), nc(two, "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")

    redis.client().flushall()

    thief = nc(one)
    thief.send("bob")
    thief.expect("Reuse")  # the nodes know whose names these are, and write them down again
    alice.send("Did you notice anything?")
    bob.expect_message("alice", "Did you notice anything?")
