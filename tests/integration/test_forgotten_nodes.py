"""All other nodes forget crashed nodes, also the nodes where nobody waits for them."""

import pytest
import redis

from relay.bus.link_table import LINKS
from relay.bus.reliable_link import Kind, pack
from relay.session.peer_messages import encode
from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.party import LEASE
from tests.support.process import wait_until
from tests.support.server import RedisServer, calls_of

FORGOTTEN = 3 * LEASE + 10.0  # seconds from the crash of a few nodes; thousands take a minute
SOON = 5.0  # seconds


def chat(guests: Guests, nodes: list[Node], name: str) -> None:
    """Check that two users talk across two nodes, and part."""
    alice, bob = guests.json(nodes[0], f"alice{name}"), guests.json(nodes[1], f"bob{name}")
    alice.call(f"bob{name}")
    bob.expect("paired", patience=SOON)
    alice.send("msg", id=1, text="hi")
    bob.expect("msg", text="hi", patience=SOON)
    alice.expect_acked(1)
    alice.send("leave")
    bob.expect("left")
    alice.expect("left")


def write_from_strangers(client: redis.Redis, prefix: str, to: str, count: int) -> None:
    """Publish frames of nodes without a lease, which crashed right after their first message."""
    with client.pipeline(transaction=False) as pipeline:
        for number in range(count):
            frame = pack(Kind.MAIL, f"{number:016}", b"a stream", 1, body=encode([]))
            pipeline.publish(to, frame)
        pipeline.execute()


def inbox(client: redis.Redis, prefix: str) -> str:
    """Return the inbox of the only node."""
    (channel,) = client.pubsub_channels(f"{prefix}:inbox:*")
    return str(channel)


def test_a_node_that_crashed_while_nobody_talked_to_it_is_forgotten(
    start_node: StartNode, own_redis: RedisServer, guests: Guests
) -> None:
    nodes = [start_node(redis=own_redis.url) for _ in range(3)]
    chat(guests, nodes, "1")
    chat(guests, nodes[1:], "2")
    assert [node.metric("relay_bus_links") for node in nodes] == [1, 2, 1]
    nodes[2].kill()
    wait_until(lambda: nodes[1].metric("relay_bus_links") == 1, "the dead node is forgotten", FORGOTTEN)
    assert nodes[0].metric("relay_bus_links") == 1, "those that live are not"
    chat(guests, nodes, "3")
    assert [node.metric("relay_bus_resets_total") for node in nodes[:2]] == [0, 0]


def test_more_dead_nodes_than_there_may_be_links_cost_neither_newcomers_nor_reconnects(
    start_node: StartNode, own_redis: RedisServer, guests: Guests, prefix: str
) -> None:
    client = own_redis.client()
    nodes = [start_node(redis=own_redis.url)]
    write_from_strangers(client, prefix, inbox(client, prefix), LINKS + 4)
    wait_until(lambda: nodes[0].metric("relay_bus_links") > LINKS / 2, "the node remembers them")
    nodes.append(start_node(redis=own_redis.url))
    chat(guests, nodes, "1")


@pytest.mark.slow
def test_thousands_of_dead_nodes_are_forgotten_within_a_minute_and_a_half(
    start_node: StartNode, own_redis: RedisServer, guests: Guests, prefix: str
) -> None:
    client = own_redis.client()
    node = start_node(redis=own_redis.url)
    write_from_strangers(client, prefix, inbox(client, prefix), LINKS)
    wait_until(lambda: node.metric("relay_bus_links") == LINKS, "the node remembers them")
    wait_until(lambda: node.metric("relay_bus_links") == 0, "they are forgotten", 90.0)
    before = calls_of(client, "publish")
    client.client_kill_filter(_type="pubsub")
    wait_until(lambda: node.readiness() == 200, "the node is ready")
    assert calls_of(client, "publish") - before < 100
