"""`relay drain` and `relay kick` as operators run them."""

import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import own_environment, wait_until
from tests.support.server import RedisServer

Run = Callable[..., subprocess.CompletedProcess[str]]

GRACE = 20.0  # seconds; a name that is free sooner was not waited for


@pytest.fixture
def run(redis_server: RedisServer, prefix: str) -> Run:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "relay", *words, "--redis", redis_server.url, "--prefix", prefix]
        return subprocess.run(command, capture_output=True, text=True, env=own_environment(), timeout=60, check=False)

    return run


@pytest.fixture
def one(start_node: StartNode) -> Node:
    return start_node(grace=GRACE, drain=GRACE)


@pytest.fixture
def other(start_node: StartNode) -> Node:
    return start_node(grace=GRACE, drain=GRACE)


def test_a_node_is_drained_and_ends_and_no_other_does(guests: Guests, one: Node, other: Node, run: Run) -> None:
    alice = guests.text(one, "alice")
    done = run("drain", one.name)
    assert (done.returncode, done.stdout) == (0, f"{one.name} has ended\n"), done.stderr
    alice.expect("* This node is going away; please reconnect.")
    assert one.wait() == 0
    assert other.readiness() == 200


def test_of_two_nodes_with_one_name_none_is_drained_until_it_is_said_which(
    one: Node, start_node: StartNode, run: Run
) -> None:
    twin = start_node(name=one.name)
    for node in (one, twin):
        node.wait_for_line("another node has this node's --name")
    done = run("drain", one.name)
    assert done.returncode == 1
    assert done.stderr.startswith(f"relay: 2 nodes are called {one.name}: say which by its uid, ")
    assert f"2 nodes are called {one.name}" in run("status").stdout
    node_ids = re.findall(r"\b[0-9a-f]{16}\b", done.stderr)
    assert len(node_ids) == 2
    done = run("drain", node_ids[0])
    assert (done.returncode, done.stdout) == (0, f"{node_ids[0]} has ended\n"), done.stderr
    wait_until(lambda: one.alive + twin.alive == 1, "one of them has ended")
    assert run("drain", one.name).returncode == 0
    assert (one.wait(), twin.wait()) == (0, 0)


def test_a_node_that_does_not_end_in_time_is_told_of(guests: Guests, one: Node, run: Run) -> None:
    alice = guests.json(one, "alice")
    done = run("drain", one.name, "--timeout", "1")
    assert (done.returncode, done.stderr) == (1, f"relay: {one.name} hasn't ended in 1 s\n")
    alice.expect("moving")
    alice.close()
    assert one.wait() == 0


def test_a_node_that_is_not_there_is_told_of(one: Node, run: Run) -> None:
    done = run("drain", "nobody")
    assert (done.returncode, done.stderr) == (1, "relay: no node called nobody is there\n")
    assert one.readiness() == 200


@pytest.mark.parametrize("typed", [pytest.param("alice", marks=pytest.mark.slow), "ALICE"])
def test_a_user_is_disconnected_and_the_name_free_and_the_partner_told(
    guests: Guests, one: Node, other: Node, run: Run, typed: str
) -> None:
    alice, bob, tim = guests.json(one, "alice"), guests.json(other, "bob"), guests.text(other, "tim")
    alice.call("bob")
    bob.expect("paired")
    done = run("kick", typed)
    assert (done.returncode, done.stdout) == (0, f"{typed} has been disconnected\n"), done.stderr
    alice.expect_error("kicked")
    alice.expect_closed()
    bob.expect("left", name="alice", reason="kicked")
    again = guests.json(other)
    again.send("hello", name="alice", token=alice.token)
    again.expect_error("bad_token")
    again.hello("alice")
    assert run("kick", "tim").returncode == 0
    tim.expect("* You have been disconnected by the operator.")
    tim.expect_closed()
    assert bob.who("alice") == "free"


def test_a_node_that_does_not_act_is_told_of(guests: Guests, one: Node, run: Run) -> None:
    guests.json(one, "alice")
    one.pause()
    done = run("kick", "alice", "--timeout", "1")
    assert (done.returncode, done.stderr) == (1, "relay: nothing has come of it in 1 s\n")
    one.resume()


def test_nobody_and_what_is_no_name_are_told_of(one: Node, run: Run) -> None:
    done = run("kick", "nobody")
    assert (done.returncode, done.stderr) == (1, "relay: nobody has this name\n")
    assert run("kick", "a{b}").returncode == 2
