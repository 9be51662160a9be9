"""`relay status` and `relay top` against real nodes, with the rights of a reader."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import pytest

from relay.tools.testbed.process import free_port
from tests.cli.children import fresh
from tests.cli.terminal import Terminal
from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.process import own_environment, wait_until
from tests.support.server import RedisServer

RELAY = [sys.executable, "-m", "relay"]
LEASE = 1.0

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(own_redis: RedisServer) -> Run:
    """Runs it as a user with read rights only."""
    client: Any = own_redis.client()
    client.execute_command(
        *["ACL", "SETUSER", "reader", "on", ">secret", "resetkeys", "%R~relay:*", "resetchannels", "-@all"],
        *["+hscan", "+pttl", "+info", "+ping", "+select", "+client|setinfo"],
    )
    url = own_redis.url.replace("//", "//reader:secret@")

    def run(*options: str, command: str = "status", url: str = url) -> subprocess.CompletedProcess[str]:
        words = [*RELAY, command, "--redis", url, *options]
        return subprocess.run(words, capture_output=True, text=True, env=own_environment(), timeout=60, check=False)

    return run


def shown(run: Run) -> dict[str, Any]:
    result = run("--json")
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    assert result.returncode == (0 if any(node["state"] == "ready" for node in found["nodes"]) else 1), result.stderr
    return found


def states(run: Run) -> list[str]:
    return [node["state"].partition(":")[0] for node in shown(run)["nodes"]]


def test_nodes_come_and_go(guests: Guests, own_redis: RedisServer, start_node: StartNode, run: Run) -> None:
    assert shown(run)["nodes"] == []
    one, other = (start_node(redis=own_redis.url, prefix="relay", lease=LEASE) for _ in range(2))
    alice, bob = guests.json(one, "alice"), guests.text(other, "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    wait_until(lambda: (shown(run)["users"], shown(run)["pairs"]) == (2, 1), "both are counted")
    found = shown(run)
    assert [node["name"] for node in found["nodes"]] == [one.name, other.name]
    assert all(0 <= node["lease_age"] <= LEASE and node["version"] for node in found["nodes"])
    (server,) = found["redis"]["servers"]
    assert (server["address"], server["role"]) == (f"127.0.0.1:{own_redis.port}", "master")
    assert server["maxmemory_policy"] == "noeviction"
    ids = count(1)

    def is_counted() -> bool:
        alice.send("msg", id=next(ids), text="hi")
        return bool(shown(run)["received"] > 0)

    wait_until(is_counted, "messages are counted", 60)
    other.kill()
    wait_until(lambda: states(run) == ["ready", "dead"], "one is dead")
    one.terminate()
    one.wait()
    assert [node["name"] for node in shown(run)["nodes"]] == [other.name], "one that ends well is not missed"


def test_people_get_tables(own_redis: RedisServer, start_node: StartNode, run: Run) -> None:
    node = start_node(redis=own_redis.url, prefix="relay")
    wait_until(lambda: shown(run)["nodes"], "it has reported")
    result = run()
    assert result.stdout.startswith("relay: 1 node, 0 users, 0 pairs, ")
    assert f"\n{node.name} " in result.stdout
    assert "redis (standalone)" in result.stdout


@pytest.mark.parametrize("command", ["status", "top"])
def test_a_refused_password_is_one_line(run: Run, own_redis: RedisServer, command: str) -> None:
    result = run(command=command, url=own_redis.url.replace("//", "//reader:wrong@"))
    assert result.returncode == 1
    assert result.stderr.startswith("relay: Redis refuses the credentials: ")
    assert (result.stderr.count("\n"), "wrong" in result.stderr) == (1, False)


@pytest.mark.parametrize(
    ("options", "status", "complaint"),
    [
        ([], 2, "relay status needs --redis URL"),
        (["--redis", "redis://me:secret@127.0.0.1:{port}"], 1, "Redis can't be asked at redis://***@127.0.0.1:"),
    ],
)
def test_a_failure_of_status_is_one_line_without_the_password(options: list[str], status: int, complaint: str) -> None:
    command = [*RELAY, "status", *(option.format(port=free_port()) for option in options)]
    result = subprocess.run(command, capture_output=True, text=True, env=own_environment(), timeout=60, check=False)
    assert result.returncode == status
    assert result.stderr.startswith(f"relay: {complaint}")
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.stderr


def test_top_goes_on_and_says_when_redis_is_away(own_redis: RedisServer, start_node: StartNode) -> None:
    node = start_node(redis=own_redis.url, prefix="relay")
    command = ("top", "--redis", own_redis.url, "--interval", "0.2")
    with Terminal(*command, server="localhost:1", launch=partial(fresh, module="relay"), columns=100) as screen:
        screen.wait_for("relay: 1 node")
        lines = screen.wait_for(node.name)
        assert lines[0].startswith("relay: 1 node, 0 users, 0 pairs")
        other = start_node(redis=own_redis.url, prefix="relay")
        screen.wait_for(other.name)
        own_redis.process.pause()
        screen.wait_for("Redis can't be asked")
        assert any(line.startswith(node.name) for line in screen.lines), "the last that is known stays"
        own_redis.process.resume()
        screen.wait(lambda lines: not any("can't" in line for line in lines), "it is back")
        screen.type("\x03")
        assert screen.status() == 0
