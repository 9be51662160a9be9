"""The log of a real node: the start and end of each session with the reason, and none of the texts."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.node import Node, node_command
from tests.support.process import Process, wait_until
from tests.support.server import RedisServer

SECRET = "what they said"


def events(text: str, event: str) -> list[dict[str, Any]]:
    """Return the fields of these events in order."""
    lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    return [line for line in lines if line["event"] == event]


def endings(node: Node) -> dict[str, str]:
    """Return the reasons of ended sessions, by name."""
    return {line["name"]: line["reason"] for line in events(node.text(), "session ended")}


@pytest.fixture
def node(start_node: StartNode) -> Node:
    return start_node(log_format="json", grace=0.5)


def test_each_session_has_a_line_at_its_start_and_one_at_its_end(
    guests: Guests, node: Node, start_node: StartNode
) -> None:
    alice, bob = guests.json(node, "Alice"), guests.text(node, "bob")
    cas, dan = guests.json(node, "cas"), guests.text(node, "dan")
    alice.call("bob")
    alice.send("msg", id=1, text=SECRET)
    bob.expect("* Alice is chatting with you.")
    bob.expect_message("Alice", SECRET)
    bob.send("Quit")
    dan.close()
    again = guests.json(start_node(grace=0.5))
    again.send("hello", name="cas", token=cas.token)
    again.expect("welcome", resumed=True)
    alice.close()
    wait_until(lambda: len(endings(node)) == 4, "all have ended")
    assert endings(node) == {"alice": "grace_over", "bob": "quit", "cas": "replaced", "dan": "hung_up"}
    starts = {line["name"]: line for line in events(node.text(), "session started")}
    assert {name: line["dialect"] for name, line in starts.items()} == {
        "alice": "json",
        "bob": "text",
        "cas": "json",
        "dan": "text",
    }
    assert all(line["client"].startswith("127.0.0.1:") and not line["resumed"] for line in starts.values())
    for line in events(node.text(), "session ended"):
        assert line["session"] == starts[line["name"]]["session"]
        assert 0 <= line["seconds"] < 60
    assert SECRET not in node.text()
    assert str(alice.token) not in node.text()
    assert str(cas.token) not in node.text()


def test_a_node_that_stops_ends_those_it_has(guests: Guests, node: Node) -> None:
    guests.json(node, "alice")
    guests.text(node, "bob")
    node.terminate()
    assert node.wait() == 0
    assert endings(node) == {"alice": "drained", "bob": "drained"}


def test_a_session_that_moves_here_is_a_start(guests: Guests, node: Node, start_node: StartNode) -> None:
    alice = guests.json(start_node(), "alice")
    alice.close()
    again = guests.json(node)
    again.send("hello", name="alice", token=alice.token)
    again.expect("welcome", resumed=True)
    (start,) = events(node.text(), "session started")
    assert start["resumed"]


def test_workers_log_alike_and_where_they_listen_is_told_at_any_level(
    tmp_path: Path, redis_server: RedisServer, prefix: str
) -> None:
    options: dict[str, str | float] = {"redis": redis_server.url, "prefix": prefix, "port": 0, "workers": 2}
    process = Process(node_command(**options, log_format="json", log_level="error"), tmp_path / "workers.log")
    try:
        wait_until(lambda: len(events(process.text(), "listening")) == 2, "both listen")
        host, port = events(process.text(), "listening")[0]["address"].split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"ann\n")
            assert client.recv(10) == b"OK\n"
        process.terminate()
        assert process.wait() == 0
        assert len(process.text().splitlines()) == 2, process.text()
    finally:
        process.kill()
