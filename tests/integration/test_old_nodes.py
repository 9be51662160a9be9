"""Nodes of an earlier release and of today in one cluster: users don't notice on which of them they are.

An operator replaces nodes one after the other, so both releases run for a while. Each must understand the messages and
the records of the other.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import StartNode, show_logs
from tests.support.clients import JsonClient
from tests.support.guests import Guests
from tests.support.node import START_PATIENCE, Node
from tests.support.party import LEASE, Party
from tests.support.process import Process, own_environment, wait_until
from tests.support.release import earlier
from tests.support.server import RedisServer

GRACE = 20.0  # seconds; a session that is back sooner wasn't given up
OLD, NEW = "old", "new"
BOTH_WAYS = [(OLD, NEW), (NEW, OLD)]

Ways = tuple[Node, Node]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, type[Node]]:
    """The classes of the nodes, one for each release."""
    return {OLD: earlier(tmp_path_factory.mktemp("earlier")), NEW: Node}


@pytest.fixture(scope="module")
def party(
    kinds: dict[str, type[Node]], redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Party]:
    """Two nodes, each of either release."""
    both = [kinds[OLD], kinds[OLD], kinds[NEW], kinds[NEW]]
    party = Party(tmp_path_factory.mktemp("mixed"), redis_server.url, kinds=both, grace=GRACE)
    yield party
    party.stop()


@pytest.fixture
def cluster(party: Party, guests: Guests) -> Iterator[dict[str, list[Node]]]:
    """The nodes by their release. None may have anything left of the test."""
    written = [len(node.text()) for node in party.nodes]
    yield {OLD: party.nodes[:2], NEW: party.nodes[2:]}
    guests.depart()
    show_logs(party.nodes, written)
    party.check_nothing_is_left(guests.names)
    for node, start in zip(party.nodes, written, strict=True):
        check_all_was_understood(node, start)


def check_all_was_understood(node: Node, start: int = 0) -> None:
    """Check the logs, because a later message may repair one that wasn't understood, and nobody would notice."""
    log = node.text()[start:]
    for trouble in ("unreadable mail", "bad frame on the bus", "unreadable record"):
        assert trouble not in log, log


@pytest.fixture(params=BOTH_WAYS, ids=" to ".join)
def ways(request: pytest.FixtureRequest, cluster: dict[str, list[Node]]) -> Ways:
    """The nodes of the caller and of the callee."""
    caller, callee = request.param
    return cluster[caller][0], cluster[callee][0]


def operators(node: Node, redis: RedisServer, party: Party, *words: str) -> list[str]:
    """The command line of an operator who has the release of this node."""
    return [*node.launch, *words, "--redis", redis.url, "--prefix", party.prefix]


def resume(guests: Guests, node: Node, old: JsonClient, **fields: object) -> JsonClient:
    """Resume with the token on a new connection."""
    client = guests.json(node)
    client.name, client.token = old.name, old.token
    client.send("hello", name=old.name, token=old.token, **fields)
    return client


def chatting(guests: Guests, ways: Ways) -> tuple[JsonClient, JsonClient, str]:
    """Two programs that acknowledge by themselves, in a chat."""
    alice, bob = (guests.json(node, name, acks=True) for node, name in zip(ways, ("alice", "bob"), strict=True))
    chat = str(alice.call("bob")["chat"])
    bob.expect("paired", name="alice", chat=chat, acks="client")
    return alice, bob, chat


def say(sender: JsonClient, receiver: JsonClient, *ids: int) -> None:
    for id in ids:
        sender.send("msg", id=id, text=f"{sender.name} {id}")
        receiver.expect("msg", id=id, text=f"{sender.name} {id}", from_=sender.name)


def confirm(receiver: JsonClient, sender: JsonClient, id: int) -> None:
    receiver.send("ack", id=id)
    sender.expect_acked(id)


def test_words_and_acknowledgements_go_both_ways(guests: Guests, ways: Ways) -> None:
    alice, bob, _ = chatting(guests, ways)
    say(alice, bob, 1, 2, 3)
    say(bob, alice, 1, 2)
    confirm(bob, alice, 3)
    confirm(alice, bob, 2)
    alice.send("typing")
    bob.expect("typing", name="alice")
    alice.send("leave")
    alice.expect("left", name="bob", reason="left")
    bob.expect("left", name="alice", reason="left")
    assert bob.call("alice")["acks"] == "client"
    alice.expect("paired", name="bob")


def test_a_program_that_acknowledges_late_gets_more_than_may_be_on_the_way(guests: Guests, ways: Ways) -> None:
    """More than 64 KiB follow only once the callee's node has said that its kernel took some."""
    alice, bob, _ = chatting(guests, ways)
    text = "x" * 2048
    for id in range(1, 101):
        alice.send("msg", id=id, text=text)
    for id in range(1, 101):
        bob.expect("msg", id=id, text=text)
    confirm(bob, alice, 100)


@pytest.mark.parametrize("dialect", ["text", "classic"])
def test_people_chat_with_people_and_with_programs(guests: Guests, ways: Ways, dialect: str) -> None:
    enter = getattr(guests, dialect)
    alice, bob, carol = enter(ways[0], "alice"), enter(ways[1], "bob"), guests.json(ways[1], "carol")
    alice.send("To:bob")
    wait_until(lambda: carol.who("alice") == carol.who("bob") == "busy", "they are paired")
    if dialect == "text":  # the original client gets no line for this
        alice.expect("* You are chatting with bob.")
        bob.expect("* alice is chatting with you.")
    alice.send("hi 🦜")
    bob.expect_message("alice", "hi 🦜")
    bob.send("so am I")
    alice.expect_message("bob", "so am I")
    bob.send("Quit")
    alice.expect("Quit.")
    alice.send("To:carol")
    carol.expect("paired", name="alice", acks="node")
    if dialect == "text":
        alice.expect("* You are chatting with carol.")
    alice.send("hi again")
    carol.expect("msg", id=2, text="hi again", from_="alice")
    alice.send("Quit")
    carol.expect("left", name="alice", reason="quit")


def test_lines_before_a_half_close_arrive(guests: Guests, ways: Ways) -> None:
    alice, bob = guests.text(ways[0], "alice"), guests.json(ways[1], "bob", acks=True)
    bob.call("alice")
    alice.expect("* bob is chatting with you.")
    alice.send("one", "two")
    alice.finish()
    for id, text in ((1, "one"), (2, "two")):
        bob.expect("msg", id=id, text=text)
    bob.send("ack", id=2)
    bob.expect("left", name="alice", reason="quit")
    alice.expect_closed()


def test_the_partner_of_a_person_whose_connection_broke_hears_the_end(guests: Guests, ways: Ways) -> None:
    alice, bob = guests.text(ways[0], "alice"), guests.json(ways[1], "bob")
    bob.call("alice")
    alice.expect("* bob is chatting with you.")
    alice.reset()
    bob.expect("left", name="alice", reason="quit")


def test_a_call_rings_and_is_taken_declined_or_given_up(guests: Guests, ways: Ways) -> None:
    alice, bob = guests.json(ways[0], "alice"), guests.json(ways[1], "bob", ask=True)
    for answer in ("decline", "cancel", "accept"):
        alice.send("to", name="bob")
        alice.expect("ringing", name="bob")
        chat = bob.expect("invited", name="alice")["chat"]
        if answer == "accept":
            bob.send("accept", chat=chat)
            alice.expect("paired", name="bob", chat=chat)
            bob.expect("paired", name="alice", chat=chat)
            continue
        if answer == "cancel":
            alice.send("cancel")
            bob.expect("missed", name="alice", chat=chat)
        else:
            bob.send("decline")
        alice.expect_error("declined", name="bob")
    carol = guests.json(ways[1], "carol")
    carol.send("to", name="alice")
    carol.expect_error("busy", name="alice")


def test_a_user_who_blocks_a_caller_is_busy_for_that_caller(guests: Guests, ways: Ways) -> None:
    alice, bob = guests.json(ways[0], "alice"), guests.json(ways[1], "bob")
    bob.send("block", name="alice")
    bob.expect("blocked", name="alice")
    alice.send("to", name="bob")
    alice.expect_error("busy", name="bob")
    bob.expect_nothing_so_far()


def test_a_name_belongs_to_one_connection_wherever_it_is(guests: Guests, ways: Ways) -> None:
    alice = guests.text(ways[0], "Alice")
    for name in ("Alice", "alice", "ＡＬＩＣＥ"):
        guests.text(ways[1]).login(name, "Reuse")
        other = guests.json(ways[1])
        other.send("hello", name=name)
        other.expect_error("name_taken", name=name)
    bob = guests.json(ways[1], "bob")
    assert bob.who("alice") == "free"
    alice.send("Quit")
    alice.expect("Quit")
    wait_until(lambda: bob.who("alice") == "offline", "the name is given back")
    guests.text(ways[1], "Alice")


# Her node, the node to which she returns, her partner's node, and whether her connection was lost. Any two of these
# occur in each combination.
@pytest.mark.parametrize(
    ("home", "back", "partner", "lost"),
    [(OLD, NEW, OLD, True), (OLD, NEW, NEW, False), (NEW, OLD, OLD, False), (NEW, OLD, NEW, True)],
)
def test_a_program_comes_back_on_a_node_of_the_other_release_and_goes_home_again(
    guests: Guests, cluster: dict[str, list[Node]], home: str, back: str, partner: str, lost: bool
) -> None:
    ways = (cluster[home][0], cluster[partner][1])
    alice, bob, chat = chatting(guests, ways)
    for first, node in ((1, cluster[back][0]), (4, ways[0])):
        say(alice, bob, first, first + 1)
        say(bob, alice, first, first + 1)
        confirm(bob, alice, first)  # the later messages are still in flight, both ways
        confirm(alice, bob, first)
        gone = alice
        if lost:
            gone.reset()
            bob.expect("away", name="alice")
        bob.send("msg", id=first + 2, text="at last")
        alice = resume(guests, node, alice, acks=True, chat=chat, sent=first + 2, last=first + 1)
        come_back(alice, bob, chat, first + 2)
        alice.expect("msg", id=first + 2, text="at last", from_="bob")
        confirm(alice, bob, first + 2)
        confirm(bob, alice, first + 2)
        assert lost or "replaced" in gone.rest().decode()


def come_back(alice: JsonClient, bob: JsonClient, chat: str, sent: int) -> None:
    """Check her welcome, and resend what he may lack: he has all but the last one, which was never sent."""
    alice.expect("welcome", resumed=True, name="alice", token=alice.token)
    last = alice.expect("paired", name="bob", chat=chat, resumed=True)["last"]
    assert sent - 2 <= last <= sent - 1
    for id in range(last + 1, sent + 1):
        alice.send("msg", id=id, text=f"alice {id}")
    while (frame := bob.frame())["type"] in ("away", "back", "ack"):  # she had some of his messages
        pass
    assert (frame["type"], frame["id"], frame["text"]) == ("msg", sent, f"alice {sent}")


@pytest.mark.parametrize(("home", "back"), BOTH_WAYS)
def test_a_user_who_comes_back_after_the_end_of_the_chat_hears_why(
    guests: Guests, cluster: dict[str, list[Node]], home: str, back: str
) -> None:
    alice, bob, chat = chatting(guests, (cluster[home][0], cluster[home][1]))
    alice.reset()
    bob.expect("away", name="alice")
    bob.send("leave")
    bob.expect("left", name="alice", reason="left")
    alice = resume(guests, cluster[back][1], alice, chat=chat)
    alice.expect("welcome", resumed=True)
    alice.expect("left", name="bob", reason="left")
    assert bob.call("alice")["chat"] != chat


@pytest.fixture(params=BOTH_WAYS, ids=" to ".join)
def leaving(
    request: pytest.FixtureRequest,
    cluster: dict[str, list[Node]],
    party: Party,
    start_node: StartNode,
    kinds: dict[str, type[Node]],
) -> Ways:
    """A node that will end, and one of the other release that stays."""
    going, staying = request.param
    return start_node(kinds[going], prefix=party.prefix, grace=GRACE, drain=GRACE), cluster[staying][1]


def test_a_node_is_drained_onto_one_of_the_other_release_by_an_operator_who_has_that(
    guests: Guests, leaving: Ways, redis_server: RedisServer, party: Party, tmp_path: Path
) -> None:
    ends, stays = leaving
    alice, bob, chat = chatting(guests, leaving)
    carol, dave = guests.text(ends, "carol"), guests.text(stays, "dave")
    carol.call("dave")
    dave.expect("* carol is chatting with you.")
    say(alice, bob, 1, 2)
    confirm(bob, alice, 1)
    with Process(operators(stays, redis_server, party, "drain", ends.name), tmp_path / "drain.log") as drain:
        alice.expect("moving", patience=START_PATIENCE)
        gone, alice = alice, resume(guests, stays, alice, acks=True, chat=chat, sent=3)
        come_back(alice, bob, chat, 3)
        assert "replaced" in gone.rest().decode()
        carol.expect("* This node is going away; please reconnect.")
        dave.expect("Quit.")
        assert ends.wait() == 0
        assert drain.wait() == 0, drain.text()
    confirm(bob, alice, 3)
    say(bob, alice, 1)
    confirm(alice, bob, 1)
    guests.text(stays, "carol")
    assert bob.who("carol") == "free"
    check_all_was_understood(ends)


def test_after_a_node_is_killed_its_users_go_on_and_its_names_are_free_on_the_other(
    guests: Guests, leaving: Ways
) -> None:
    dies, stays = leaving
    alice, bob, chat = chatting(guests, leaving)
    carol, dave = guests.text(dies, "carol"), guests.text(stays, "dave")
    carol.call("dave")
    dave.expect("* carol is chatting with you.")
    say(alice, bob, 1, 2)
    confirm(bob, alice, 1)
    dies.kill()
    gone, alice = alice, resume(guests, stays, alice, acks=True, chat=chat, sent=3)
    come_back(alice, bob, chat, 3)
    confirm(bob, alice, 3)
    dave.expect("Quit.")
    guests.text_when_free(stays, "carol", LEASE * 4)
    gone.close()


def test_after_redis_forgot_everything_nodes_of_both_releases_write_it_again(
    guests: Guests, own_redis: RedisServer, start_node: StartNode, kinds: dict[str, type[Node]]
) -> None:
    """A node that starts then, of either release, makes a roll call and gives no name away."""

    def both() -> list[Node]:
        return [start_node(kinds[release], redis=own_redis.url, grace=GRACE) for release in (OLD, NEW)]

    one, two = both()
    alice, bob, _ = chatting(guests, (one, two))
    carol, dave = guests.text(one, "carol"), guests.text(two, "dave")
    own_redis.client().flushall()
    late = both()
    for node in late:
        asker = guests.json(node)
        for name in ("alice", "bob", "carol", "dave"):
            asker.send("hello", name=name)
            asker.expect_error("name_taken", name=name)
        wait_until(lambda asker=asker, node=node: claimed(asker, node.name), "a free name is to be had")  # type: ignore[misc]
    say(alice, bob, 1)
    confirm(bob, alice, 1)
    carol.call("dave")
    dave.expect("* carol is chatting with you.")
    for node in (one, two, *late):
        check_all_was_understood(node)


def claimed(client: JsonClient, name: str) -> bool:
    client.name = name
    client.send("hello", name=name)
    return bool(client.frame()["type"] == "welcome")


def test_operators_of_either_release_see_nodes_of_both_and_disconnect_users_of_the_other(
    guests: Guests, ways: Ways, redis_server: RedisServer, party: Party
) -> None:
    own, _ = ways
    alice, bob, _ = chatting(guests, ways)

    def told(*words: str) -> str:
        command = operators(own, redis_server, party, *words)
        ended = subprocess.run(
            command, capture_output=True, text=True, env=own_environment(), timeout=START_PATIENCE, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def shown() -> dict[str, Any]:
        found = json.loads(told("status", "--json"))
        assert isinstance(found, dict)
        return found

    # The observer is the third user.
    found = wait_until(lambda: (now := shown())["pairs"] == 1 and now["users"] == 3 and now, "all are counted", 60)
    states = {node["name"]: node["state"] for node in found["nodes"]}
    assert {states[node.name] for node in party.nodes} == {"ready"}
    told("kick", "bob")
    bob.expect_error("kicked")
    alice.expect("left", name="bob", reason="kicked")
    assert alice.who("bob") == "offline"
