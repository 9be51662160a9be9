"""A silent primary of a cluster delays the users whose names it has, and no others."""

import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import pytest

from relay.redis_client.keys import Keys
from tests.integration.conftest import StartNode
from tests.support.clients import JsonClient
from tests.support.cluster import RedisCluster
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.party import LEASE
from tests.support.server import RedisServer

NODE_TIMEOUT = 60.0  # seconds, so that nobody replaces the silent primary during the test
CROWD = 100  # users who log in at once
EACH = 0.4  # seconds between two newcomers
UNAVAILABLE = 2.5  # seconds for a refusal, which takes one on a quiet machine


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path / "cluster", node_timeout=NODE_TIMEOUT)
    yield cluster
    cluster.stop()


def without_a_part(cluster: RedisCluster, start_node: StartNode) -> tuple[list[Node], str, RedisServer]:
    """Two nodes, their prefix, and a primary that has none of their leases, inboxes and reports."""
    for attempt in count():
        prefix = f"silence{attempt}"
        nodes = [start_node(redis=cluster.url, prefix=prefix, grace=30) for _ in range(2)]
        taken = cluster.holding(f"{prefix}:lease:*") | cluster.holding(f"{prefix}:inbox:*")
        if free := set(cluster.servers) - taken:
            return nodes, prefix, free.pop()
        for node in nodes:
            node.kill()
    raise AssertionError


def named(cluster: RedisCluster, prefix: str, stem: str, sick: RedisServer, *, there: bool) -> Iterator[str]:
    """Return names whose records the silent primary has, or the others have."""
    keys = Keys(prefix)
    return (name for n in count() if (cluster.home(keys.place(name := f"{stem}{n}").key) is sick) is there)


def test_names_elsewhere_leases_and_messages_are_as_ever(
    cluster: RedisCluster, start_node: StartNode, guests: Guests
) -> None:
    nodes, prefix, sick = without_a_part(cluster, start_node)
    crowd = list(islice(named(cluster, prefix, "crowd", sick, there=False), CROWD))
    healthy = named(cluster, prefix, "well", sick, there=False)
    lost = list(islice(named(cluster, prefix, "sick", sick, there=True), 100))
    alice, bob = (guests.json(node, next(healthy)) for node in nodes)
    alice.call(str(bob.name))
    bob.expect("paired")

    sick.process.pause()
    waiting: list[JsonClient] = []
    ends = time.monotonic() + 3 * LEASE
    for n in count(1):
        stranger = guests.json(nodes[n % 2])
        stranger.send("hello", name=lost.pop())
        waiting.append(stranger)
        guests.json(nodes[n % 2], next(healthy))
        alice.send("msg", id=n, text="hi")
        bob.expect("msg", id=n)
        alice.expect_acked(n)
        assert [node.readiness() for node in nodes] == [200, 200]
        if time.monotonic() > ends:
            break
        time.sleep(EACH)  # the newcomers of this time are the test

    began = time.monotonic()
    newcomers = [guests.json(nodes[n % 2]) for n in range(CROWD)]
    for client, name in zip(newcomers, crowd, strict=True):
        client.send("hello", name=name)
    for client in newcomers:
        client.expect("welcome")
    print(f"{CROWD} logins in {time.monotonic() - began:.2f} s")
    for stranger in waiting:
        stranger.expect_error("unavailable")
    late = guests.json(nodes[0])
    asked = time.monotonic()
    late.send("hello", name=lost.pop())
    late.expect_error("unavailable")
    assert time.monotonic() - asked < UNAVAILABLE
    sick.process.resume()
    for node in nodes:
        assert "lapsed" not in node.text()
        assert "redis unavailable" not in node.text()
    guests.text_when_free(nodes[0], lost.pop(), 10)
