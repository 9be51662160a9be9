"""A cluster of which a part is away, or which has only one server, or whose members have new addresses."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from relay.redis_client.keys import Keys
from relay.tools.testbed.redis_kind import NODE_TIMEOUT
from tests.integration.conftest import StartNode
from tests.support.cluster import RedisCluster
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import own_environment, wait_until
from tests.support.proxy import HOST, Proxy

IN_PARTS = ("--cluster-require-full-coverage", "no")
BACK = NODE_TIMEOUT + 5.0  # seconds


def status(url: str, prefix: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "relay", "status", "--json", "--redis", url, "--prefix", prefix]
    result = subprocess.run(command, capture_output=True, text=True, env=own_environment(), timeout=60, check=False)
    assert not result.stderr
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def chat(guests: Guests, nodes: list[Node], names: Iterator[str]) -> None:
    """Check that two users meet across nodes and talk."""
    caller, callee = islice(names, 2)
    alice, bob = guests.json(nodes[0], caller), guests.json(nodes[1], callee)
    alice.call(callee)
    bob.expect("paired")
    alice.send("msg", id=1, text="hi")
    bob.expect("msg", text="hi")
    alice.expect_acked(1)


def test_nodes_start_beside_a_primary_that_is_away_and_status_names_it(
    start_node: StartNode, guests: Guests, prefix: str, tmp_path: Path
) -> None:
    cluster = RedisCluster(tmp_path / "cluster", options=IN_PARTS)
    try:
        keys = Keys(prefix)
        gone = next(server for server in cluster.servers if server is not cluster.home(keys.nodes))
        there = (name for n in count() if cluster.home(keys.place(name := f"user{n}").key) is not gone)
        names, lost = list(islice(there, 2)), f"127.0.0.1:{gone.port}"
        gone.process.kill()
        nodes = [start_node(redis=cluster.url) for _ in range(3)]
        assert [node.readiness() for node in nodes] == [200] * 3
        chat(guests, nodes, iter(names))
        wait_until(lambda: len(status(cluster.url, prefix)["nodes"]) == 3, "all have reported", 30)
        found = status(cluster.url, prefix)
        assert [node["state"] for node in found["nodes"]] == ["ready"] * 3
        servers = {server["address"]: server for server in found["redis"]["servers"]}
        assert len(servers) == 3
        assert servers[lost]["role"] == "away"
        assert servers[lost]["trouble"] == f"{lost}: connection refused"
        assert all(not server["trouble"] for address, server in servers.items() if address != lost)
    finally:
        cluster.stop()


def test_where_no_node_can_be_seen_the_servers_still_are(prefix: str, tmp_path: Path) -> None:
    """By default the members of a cluster serve nothing if some slots are uncovered."""
    cluster = RedisCluster(tmp_path / "cluster")
    try:
        cluster.servers[0].process.kill()
        wait_until(
            lambda: cluster.clients[1].cluster("INFO")["cluster_state"] == "fail",
            "the others have noticed",
            30,
        )
        found = status(cluster.url, prefix)
        # The server with the list of nodes says so, or is itself away.
        assert "CLUSTERDOWN" in found["trouble"] or "connection refused" in found["trouble"]
        assert sorted(server["role"] for server in found["redis"]["servers"]) == ["away", "master", "master"]
    finally:
        cluster.stop()


def test_a_single_server_with_all_slots_is_a_cluster_too(start_node: StartNode, guests: Guests, tmp_path: Path) -> None:
    """It has never met another member, and doesn't know its own address."""
    cluster = RedisCluster(tmp_path / "cluster", primaries=1)
    try:
        nodes = [start_node(redis=cluster.url) for _ in range(2)]
        chat(guests, nodes, iter(("alice", "bob")))
        guests.depart()
    finally:
        cluster.stop()


@pytest.mark.slow
def test_a_shard_that_is_gone_with_its_replica_is_back_when_they_are(
    start_node: StartNode, guests: Guests, prefix: str, tmp_path: Path
) -> None:
    """They come back empty, and the cluster serves nothing meanwhile."""
    cluster = RedisCluster(tmp_path / "cluster", replicas=True)
    try:
        nodes = [start_node(redis=cluster.url, grace=30) for _ in range(2)]
        alice, bob = guests.json(nodes[0], "alice"), guests.json(nodes[1], "bob")
        alice.call("bob")
        bob.expect("paired")
        first = next(iter(cluster.holding(f"{prefix}:inbox:*")))
        place = cluster.servers.index(first)
        shard = (first, cluster.servers[place + 3])
        for server in shard:
            server.process.kill()
        other = cluster.clients[(place + 1) % 3]
        wait_until(lambda: other.cluster("INFO")["cluster_state"] == "fail", "the others have noticed", 30)
        alice.send("msg", id=1, text="hi")
        for server in shard:
            server.start()
        wait_until(lambda: other.cluster("INFO")["cluster_state"] == "ok", "the cluster is whole", 30)
        back = time.monotonic()
        bob.expect("msg", text="hi")
        wait_until(lambda: [node.readiness() for node in nodes] == [200, 200], "both are ready", BACK)
        assert time.monotonic() - back < BACK
        guests.text_when_free(nodes[0], "carol", BACK)
        guests.depart()
    finally:
        cluster.stop()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path / "elsewhere")
    yield cluster
    cluster.stop()


def test_members_that_all_come_back_at_other_addresses_are_found_behind_the_urls(
    start_node: StartNode, guests: Guests, elsewhere: RedisCluster, tmp_path: Path
) -> None:
    before = RedisCluster(tmp_path / "before")
    call_policy = Proxy(before.servers[0].port)
    try:
        nodes = [start_node(redis=f"redis+cluster://{HOST}:{call_policy.port}", grace=30) for _ in range(2)]
        alice, bob = guests.json(nodes[0], "alice"), guests.json(nodes[1], "bob")
        alice.call("bob")
        bob.expect("paired")
        for server in before.servers:
            server.process.kill()
        call_policy.switch(elsewhere.servers[0].port)
        moved = time.monotonic()
        alice.send("msg", id=1, text="hi")
        bob.expect("msg", text="hi")
        for node in nodes:
            wait_until(lambda node=node: node.readiness() == 200, "it is ready", moved + BACK - time.monotonic())  # type: ignore[misc]
        guests.text_when_free(nodes[0], "carol", BACK)
        guests.depart()
    finally:
        call_policy.stop()
        before.stop()
