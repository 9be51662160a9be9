"""An endpoint that moves to another server, as those of managed services do, and keeps the old connections."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay.tools.testbed import topology_setup
from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.party import LEASE
from tests.support.process import wait_until
from tests.support.proxy import HOST, Proxy
from tests.support.server import RedisServer

BOUND = 5.0  # seconds from the moment when the endpoint leads to the right server
SLACK = 5.0  # seconds more for a busy machine

# A user without the rights to ask a server for its role, so that only refusals show it.
MUTE = ("mute", "on", "nopass", "~*", "&*", "+@all", "-info", "-role")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[RedisServer]]:
    """A primary and its replica."""
    primary = RedisServer(tmp_path / "one", topology_setup.OPTIONS)
    replica = RedisServer(tmp_path / "two", [*topology_setup.OPTIONS, "--replicaof", HOST, str(primary.port)])
    for server in (primary, replica):
        server.client().execute_command("ACL", "SETUSER", *MUTE)  # type: ignore[no-untyped-call]
    wait_until(lambda: topology_setup.replicates(replica.client()), "the replica is in step", 30)
    yield [primary, replica]
    for server in (primary, replica):
        server.process.resume()
        server.stop()


@pytest.fixture
def endpoint(servers: list[RedisServer]) -> Iterator[Proxy]:
    proxy = Proxy(servers[0].port)
    yield proxy
    proxy.stop()


def failover(old: RedisServer, new: RedisServer, endpoint: Proxy) -> None:
    """Promote the replica and make the old primary its replica, as a managed service does."""
    new.client().replicaof("NO", "ONE")
    endpoint.lead(new.port)
    old.client().replicaof(HOST, str(new.port))


def failover_late(old: RedisServer, new: RedisServer, endpoint: Proxy) -> None:
    """Do the same, and move the endpoint some time later."""
    new.client().replicaof("NO", "ONE")
    old.client().replicaof(HOST, str(new.port))
    time.sleep(2 * LEASE)
    endpoint.lead(new.port)


def switch_over(old: RedisServer, new: RedisServer, endpoint: Proxy) -> None:
    """Move to another installation: the old server stays a primary, and connected users stay there."""
    new.client().replicaof("NO", "ONE")
    endpoint.lead(new.port)


def link_down(old: RedisServer, new: RedisServer, endpoint: Proxy) -> None:
    """Make the old primary a replica of a server that doesn't exist, so that it answers MASTERDOWN."""
    new.client().replicaof("NO", "ONE")
    endpoint.lead(new.port)
    old.client().config_set("replica-serve-stale-data", "no")
    old.client().replicaof(HOST, "1")


Fault = Callable[[RedisServer, RedisServer, Proxy], None]


@pytest.mark.parametrize(
    ("user", "fault"),
    [
        ("", failover),
        ("", failover_late),
        ("", switch_over),
        pytest.param("", link_down, marks=pytest.mark.slow),  # harder to notice with fewer rights
        ("mute:x@", failover),
        ("mute:x@", link_down),
    ],
)
def test_all_connections_follow_the_endpoint(
    guests: Guests, start_node: StartNode, servers: list[RedisServer], endpoint: Proxy, user: str, fault: Fault
) -> None:
    url = f"redis://{user}{HOST}:{endpoint.port}/0"
    nodes = [start_node(redis=url, grace=30) for _ in range(2)]
    alice, bob = guests.json(nodes[0], "alice"), guests.json(nodes[1], "bob")
    alice.call("bob")
    bob.expect("paired")
    old, new = servers
    fault(old, new, endpoint)
    until = time.monotonic() + BOUND + SLACK
    wait_until(lambda: listeners(new) == 2, "both nodes are at the new primary", until - time.monotonic())
    alice.send("msg", id=1, text="across")
    alice.expect_past_absences("ack", id=1, patience=until - time.monotonic())
    bob.expect_past_absences("msg", text="across", patience=until - time.monotonic())
    bob.send("msg", id=1, text="and back")
    alice.expect_past_absences("msg", text="and back")
    wait_until(lambda: [node.readiness() for node in nodes] == [200, 200], "both are ready", until - time.monotonic())
    guests.text_when_free(nodes[1], "carol", 2 * LEASE + BOUND)
    wait_until(lambda: users(old) == 0, "nobody is at the old one", SLACK)


def listeners(server: RedisServer) -> int:
    """Return the number of nodes that are subscribed there."""
    return len([channel for channel in server.client().pubsub_channels() if ":inbox:" in channel])


def users(server: RedisServer) -> int:
    """Return the number of the relay's connections there: those that publish, subscribe or ask."""
    ours = ("publish", "subscribe", "evalsha", "eval")
    return len([one for one in server.client().client_list() if one["cmd"] in ours])


def test_a_node_waits_for_a_primary_and_says_where_there_is_none(
    guests: Guests, tmp_path: Path, servers: list[RedisServer], endpoint: Proxy
) -> None:
    primary, replica = servers
    endpoint.lead(replica.port)
    node = Node(tmp_path, wait=False, redis=endpoint.url)
    try:
        line = node.wait_for_line("is a replica")
        assert f"{HOST}:{endpoint.port}" in line
        assert "listening" not in node.text()
        endpoint.lead(primary.port)
        node.wait_until_listening()
        guests.text_when_free(node, "alice", 2 * LEASE)
        guests.depart()
    finally:
        node.kill()


def test_a_server_that_is_loading_is_waited_for(guests: Guests, tmp_path: Path) -> None:
    """It accepts connections, and answers each command with LOADING."""
    slow = ["--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"]
    server = RedisServer(tmp_path / "server", ["--enable-debug-command", "yes", *slow])
    with server.client().pipeline(transaction=False) as pipeline:
        for number in range(1000):  # this takes two seconds
            pipeline.set(f"key{number}", 100 * "x", ex=600)
        pipeline.execute()
    loading = threading.Thread(target=server.client(socket_timeout=None).execute_command, args=("DEBUG", "RELOAD"))
    loading.start()
    node = Node(tmp_path, wait=False, redis=server.url)
    try:
        assert f"{HOST}:{server.port}" in node.wait_for_line("LOADING")
        loading.join()
        node.wait_until_listening()
        guests.text_when_free(node, "alice", 2 * LEASE)
        guests.depart()
    finally:
        node.kill()
        server.stop()
