"""Nodes whose Redis is reached over TLS: `rediss://`."""

from pathlib import Path

from tests.integration.conftest import StartNode
from tests.support.certificates import Authority
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.server import RedisServer
from tests.support.tls_front import tls_front


def test_two_nodes_chat_over_rediss(
    guests: Guests, start_node: StartNode, own_redis: RedisServer, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    with tls_front(own_redis.port, *authority.issue("redis")) as port:
        url = f"rediss://localhost:{port}?ssl_ca_certs={authority.file}"
        one, other = (start_node(redis=url) for _ in range(2))
        alice, bob = guests.text(one, "alice"), guests.json(other, "bob")
        alice.call("bob")
        bob.expect("paired", name="alice")
        alice.send("hi")
        bob.expect("msg", text="hi")
        bob.send("msg", id=1, text="x" * 60_000)
        assert alice.expect_message("bob", "x" * 60_000)
        guests.depart()
        for node in (one, other):
            node.terminate()
            assert node.wait() == 0


def test_a_server_that_somebody_else_vouches_for_is_not_talked_to(own_redis: RedisServer, tmp_path: Path) -> None:
    theirs = Authority(tmp_path, "theirs").issue("redis")
    with tls_front(own_redis.port, *theirs) as port:
        url = f"rediss://localhost:{port}?ssl_ca_certs={Authority(tmp_path).file}"
        node = Node(tmp_path, wait=False, redis=url)
        try:
            node.wait_for_line("certificate verify failed")
        finally:
            node.kill()
