"""/metrics of real nodes counts the events of their users."""

import http.client
import socket
from pathlib import Path

from prometheus_client import parser

from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.node import Address, Node
from tests.support.process import PATIENCE, wait_until
from tests.support.server import RedisServer

Samples = dict[tuple[str, str], float]


def get(address: Address, path: str) -> tuple[int, str]:
    """Return status and body."""
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def samples(node: Node) -> Samples:
    """Return values by name and label values."""
    status, text = get(node.http_address, "/metrics")
    assert status == 200, text
    return {
        (sample.name, " ".join(sample.labels.values())): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_chat_across_nodes_in_numbers(guests: Guests, start_node: StartNode) -> None:
    here, there = start_node(), start_node()
    alice, bob = guests.json(here, "alice"), guests.text(there, "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    for id in range(1, 11):
        alice.send("msg", id=id, text="hi")
        bob.expect_message("alice", "hi")
        alice.expect_acked(id)
    guests.text(here).login("alice", "Reuse")
    ours, theirs = samples(here), samples(there)
    assert ours["relay_messages_received_total", ""] == ours["relay_messages_acknowledged_total", ""] == 10
    assert ours["relay_ack_latency_seconds_count", ""] == 10
    assert theirs["relay_messages_delivered_total", ""] == 10
    assert theirs["relay_messages_received_total", ""] == 0
    assert ours["relay_claims_total", "granted"] == ours["relay_claims_total", "name_taken"] == 1
    assert ours["relay_calls_total", "paired"] == 1
    assert ours["relay_sessions", "json busy"] == ours["relay_sessions", "text nameless"] == 1
    assert ours["relay_connections", ""] == 2
    assert ours["relay_bus_batch_size_count", ""] >= 10
    assert ours["relay_redis_round_trip_seconds_count", ""] > 0
    assert ours["relay_ready", ""] == ours["relay_bus_hearing", ""] == ours["relay_lease_held", ""] == 1
    assert 0 < ours["relay_lease_age_seconds", ""] < 5
    wait_until(lambda: samples(here)["relay_bus_echo_seconds_count", ""], "the node hears itself")


def test_a_redis_that_is_away_shows_and_says_why_nobody_should_come(
    start_node: StartNode, own_redis: RedisServer
) -> None:
    node = start_node(redis=own_redis.url, lease=2)
    wait_until(lambda: get(node.http_address, "/readyz") == (200, "ready\n"), "ready")
    own_redis.process.pause()
    wait_until(lambda: get(node.http_address, "/readyz")[0] == 404, "not ready")
    assert get(node.http_address, "/readyz")[1] in ("no lease: Redis is away\n", "deaf: no echo of the own probe\n")
    assert get(node.http_address, "/healthz") == (200, "alive\n")
    states = ("relay_lease_held", "relay_redis_up", "relay_ready", "relay_bus_hearing")

    def all_are(value: int) -> bool:
        found = samples(node)
        return all(found[state, ""] == value for state in states)

    wait_until(lambda: all_are(0), "the lease is lost, and everything else")
    away = samples(node)
    assert away["relay_redis_failures_total", ""] > 0
    assert away["relay_lease_age_seconds", ""] > 2
    own_redis.process.resume()
    wait_until(lambda: get(node.http_address, "/readyz") == (200, "ready\n"), "ready again")
    wait_until(lambda: all_are(1), "everything is there again")
    assert samples(node)["relay_lease_lapses_total", ""] >= 1


def test_a_node_that_waits_for_redis_is_alive_and_not_ready(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nowhere = taken.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    node = Node(tmp_path, wait=False, redis=f"redis://127.0.0.1:{nowhere}", http_port=port)
    try:
        node.wait_for_line("waiting for redis")
        assert get(("127.0.0.1", port), "/healthz") == (200, "alive\n")
        status, why = get(("127.0.0.1", port), "/readyz")
        assert status == 404
        assert why.startswith("starting: waiting for Redis: ")
        assert f"127.0.0.1:{nowhere}" in why
        node.http_address = ("127.0.0.1", port)
        early = samples(node)
        assert early["relay_ready", ""] == early["relay_redis_up", ""] == early["relay_lease_held", ""] == 0
    finally:
        node.kill()
