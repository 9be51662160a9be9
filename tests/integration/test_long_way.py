"""Redis on the other side of the world: time-outs follow the round trip."""

from pathlib import Path

from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.party import LEASE
from tests.support.process import wait_until
from tests.support.proxy import Proxy
from tests.support.server import RedisServer

EACH_WAY = 0.35  # seconds
FIRST = 60.0  # seconds; scripts have to be loaded too, with a round trip for each step


def test_names_calls_and_messages_take_their_time_and_leases_hold(
    guests: Guests, own_redis: RedisServer, tmp_path: Path
) -> None:
    proxy = Proxy(own_redis.port, EACH_WAY)
    nodes = [Node(tmp_path, wait=False, redis=proxy.url) for _ in range(2)]
    try:
        for node in nodes:
            node.wait_for_line("listening", FIRST)
            node.wait_until_listening()
        alice = guests.text_when_free(nodes[0], "alice", FIRST)
        bob = guests.text_when_free(nodes[1], "bob", FIRST)
        alice.send("To:bob")
        assert alice.line(FIRST) == "* You are chatting with bob."
        assert bob.line(FIRST) == "* alice is chatting with you."
        alice.send("hi")
        bob.expect_message("alice", "hi")
        assert [node.readiness() for node in nodes] == [200, 200]
        for node in nodes:
            assert "lease lapsed" not in node.text()
            assert "deaf: no echo" not in node.text()
        nodes[0].kill()
        assert bob.line(FIRST) == "Quit."
        wait_until(lambda: nodes[1].readiness() == 200, "the other node goes on", 2 * LEASE)
        guests.depart()
    finally:
        for node in nodes:
            node.kill()
        proxy.stop()
