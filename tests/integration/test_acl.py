"""A node can do everything with the rights of deploy/redis-acl.conf, and needs each of them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.integration.conftest import StartNode
from tests.support.cluster import RedisCluster
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import own_environment, wait_until
from tests.support.sentinels import SentinelSet
from tests.support.server import RedisServer, calls_of

ACL = Path(__file__).parents[2] / "deploy" / "redis-acl.conf"
CREDENTIALS = "relay:opensesame"
PREFIX = "relay"  # the one that the file is about
# What other engines than a single server need, and what the connections of a healthy one don't.
CLUSTER = {"spublish", "ssubscribe", "cluster|slots", "cluster|nodes", "asking"}
ELSEWHERE = CLUSTER | {"role", "ping"}


# Otherwise a node looks after a partition every ten seconds.
SWEEP_OFTEN = "from relay.directory import directory; directory.SWEEP_SECONDS = 0.2; from relay.cli import main; main()"


class Sweeping(Node):
    launch = (sys.executable, "-c", SWEEP_OFTEN)


def included(folder: Path) -> list[str]:
    """Have a server read the file, with a password in the place that its comment names."""
    name, _, password = CREDENTIALS.partition(":")
    told = folder / "acl.conf"
    told.write_text(ACL.read_text().replace(f"user {name} on ", f"user {name} on >{password} "))
    return ["--include", str(told)]


def rights() -> set[str]:
    """Return the commands that the file allows."""
    rule = next(line for line in ACL.read_text().splitlines() if line.startswith("user relay "))
    assert "-@all" in rule.split()
    return {word[1:] for word in rule.split() if word.startswith("+")}


def live(guests: Guests, nodes: list[Node]) -> None:
    """Do a bit of everything: names, a chat across nodes, a resume."""
    alice, bob = guests.json(nodes[0], "alice"), guests.json(nodes[1], "bob")
    chat = alice.call("bob")["chat"]
    bob.expect("paired")
    alice.send("msg", id=1, text="hi")
    bob.expect("msg", text="hi")
    alice.expect("ack", id=1)
    alice.reset()
    bob.expect("away")
    again = guests.json(nodes[1])
    again.send("hello", name="alice", token=alice.token, chat=chat)
    again.expect("welcome", resumed=True)
    again.expect("paired", chat=chat)
    bob.expect("back")
    guests.text(nodes[0], "carol").send("Quit")
    guests.text_when_free(nodes[1], "carol", 10)


def check_status(url: str, engine: str, servers: int) -> None:
    """Check that `relay status` has all the rights that it needs."""
    command = [sys.executable, "-m", "relay", "status", "--json", "--redis", url, "--prefix", PREFIX]
    shown = json.loads(subprocess.run(command, capture_output=True, check=True, env=own_environment()).stdout)
    assert [node["state"] for node in shown["nodes"]] == ["ready", "ready"]
    assert (shown["redis"]["engine"], len(shown["redis"]["servers"])) == (engine, servers)
    assert all(server["role"] == "master" for server in shown["redis"]["servers"])


def check_nothing_was_refused(servers: list[redis.Redis]) -> None:
    for server in servers:
        refused = server.acl_log()
        assert not refused, refused


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "server", included(tmp_path))
    yield server
    server.stop()


def test_the_rights_are_enough_and_used_on_one_server(
    guests: Guests, start_node: StartNode, server: RedisServer
) -> None:
    client = server.client()
    url = server.url.replace("//", f"//{CREDENTIALS}@").replace("/0", "/1")
    nodes = [start_node(Sweeping, redis=url, prefix=PREFIX, grace=10) for _ in range(2)]
    live(guests, nodes)
    wait_until(lambda: calls_of(client, "hscan") > len(nodes), "a node looks after a partition")
    check_status(url, "standalone", 1)
    check_nothing_was_refused([client])
    unused = {right for right in rights() - ELSEWHERE if not calls_of(client, right)}
    assert not unused


def test_the_rights_are_enough_with_sentinels(guests: Guests, start_node: StartNode, tmp_path: Path) -> None:
    sentinels = SentinelSet(tmp_path / "set", included(tmp_path))
    try:
        clients = [server.client() for server in sentinels.servers]
        url = sentinels.url.replace("//", f"//{CREDENTIALS}@")
        live(guests, [start_node(redis=url, prefix=PREFIX, grace=10) for _ in range(2)])
        check_status(url, "sentinel", 1)
        check_nothing_was_refused(clients)
        assert calls_of(clients[0], "role")
    finally:
        guests.depart()
        sentinels.stop()


def test_the_rights_are_enough_on_a_cluster(guests: Guests, start_node: StartNode, tmp_path: Path) -> None:
    cluster = RedisCluster(tmp_path / "cluster", options=included(tmp_path))
    try:
        url = cluster.url.replace("//", f"//{CREDENTIALS}@")
        live(guests, [start_node(redis=url, prefix=PREFIX, grace=10) for _ in range(2)])
        check_status(url, "cluster", len(cluster.clients[:3]))
        check_nothing_was_refused(cluster.clients)
        used = {right for right in CLUSTER for client in cluster.clients if calls_of(client, right)}
        assert used >= CLUSTER - {"asking"}  # that one is needed only while a slot moves
    finally:
        guests.depart()
        cluster.stop()


@pytest.mark.parametrize("command", ["FLUSHALL", "CONFIG GET requirepass", "KEYS *", "GET other", "PUBLISH other hi"])
def test_the_rights_end_there(server: RedisServer, command: str) -> None:
    name, _, password = CREDENTIALS.partition(":")
    client: Any = redis.Redis(port=server.port, username=name, password=password)
    with client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())


def test_a_policy_that_may_evict_names_is_told(tmp_path: Path, start_node: StartNode, server: RedisServer) -> None:
    server.client().config_set("maxmemory-policy", "allkeys-lru")
    node = start_node(redis=server.url.replace("//", f"//{CREDENTIALS}@"), prefix=PREFIX)
    assert "redis may evict the directory" in node.text()


def test_without_a_password_nobody_is_the_user(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "server", ["--include", str(ACL)])
    try:
        for password in ("", "change-me"):
            with pytest.raises(redis.exceptions.AuthenticationError):
                server.client(username="relay", password=password).ping()
    finally:
        server.stop()
