"""Redis over TLS: one server, sentinels, a cluster, and certificates and passwords that change."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from relay.tools.testbed.topology_setup import SERVICE
from tests.integration.conftest import StartNode
from tests.support.certificates import Authority
from tests.support.cluster import RedisCluster
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.party import LEASE
from tests.support.process import wait_until
from tests.support.proxy import HOST
from tests.support.sentinels import SentinelSet
from tests.support.server import RedisServer
from tests.support.tls_front import TlsProxy, tls_front

BACK = 10.0  # seconds until a node has recovered; 5 are promised, and a busy machine adds to them


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def chat(guests: Guests, one: Node, other: Node) -> None:
    """Check that two users talk across the two nodes, both ways, with many texts at once."""
    alice, bob = guests.text(one, "alice"), guests.json(other, "bob")
    alice.call("bob")
    bob.expect("paired", name="alice")
    alice.send("hi")
    bob.expect("msg", text="hi")
    bob.send("msg", id=1, text="x" * 60_000)
    assert alice.expect_message("bob", "x" * 60_000)
    guests.depart()


def test_two_nodes_chat_over_rediss(
    guests: Guests, start_node: StartNode, own_redis: RedisServer, authority: Authority
) -> None:
    with tls_front(own_redis.port, *authority.issue("redis")) as port:
        url = f"rediss://localhost:{port}?ssl_ca_certs={authority.file}"
        one, other = (start_node(redis=url) for _ in range(2))
        chat(guests, one, other)
        for node in (one, other):
            node.terminate()
            assert node.wait() == 0


def test_a_server_that_somebody_else_vouches_for_is_not_talked_to(own_redis: RedisServer, tmp_path: Path) -> None:
    theirs = Authority(tmp_path, "theirs").issue("redis")
    with tls_front(own_redis.port, *theirs) as port:
        url = f"rediss://localhost:{port}?ssl_ca_certs={Authority(tmp_path).file}"
        node = Node(tmp_path, wait=False, redis=url)
        try:
            assert f"localhost:{port}" in node.wait_for_line("certificate verify failed")
        finally:
            node.kill()


def test_a_cluster_is_reached_over_tls(
    guests: Guests, start_node: StartNode, tmp_path: Path, authority: Authority, stack: ExitStack
) -> None:
    """Its members announce their TLS ports to each other."""
    cluster = RedisCluster(tmp_path / "cluster")
    stack.callback(cluster.stop)
    own = authority.issue("redis")
    fronts = [TlsProxy(server.port, own) for server in cluster.servers]
    for front, client in zip(fronts, cluster.clients, strict=True):
        stack.callback(front.stop)
        client.config_set("cluster-announce-port", front.port)
    announced = {front.port for front in fronts}

    def known() -> bool:
        slots = [client.execute_command("CLUSTER", "SLOTS") for client in cluster.clients]  # type: ignore[no-untyped-call]
        return all({row[2][1] for row in rows} == announced for rows in slots)

    wait_until(known, "all know each other's ports", 30)
    url = f"rediss+cluster://{HOST}:{fronts[0].port}?ssl_ca_certs={authority.file}"
    one, other = (start_node(redis=url) for _ in range(2))
    chat(guests, one, other)
    for node in (one, other):
        node.kill()


def test_sentinels_and_their_servers_are_reached_over_tls(
    guests: Guests, start_node: StartNode, tmp_path: Path, authority: Authority, stack: ExitStack
) -> None:
    """The sentinels have their own authority, and there is a failover."""
    (tmp_path / "guards").mkdir()
    guards = Authority(tmp_path / "guards")
    own, theirs = authority.issue("redis"), guards.issue("sentinel")

    def front(port: int) -> int:
        proxy = TlsProxy(port, own, plain=True)
        stack.callback(proxy.stop)
        return proxy.port

    sentinels = SentinelSet(tmp_path / "servers", front=front)
    stack.callback(sentinels.stop)
    doors = [TlsProxy(sentinel.port, theirs) for sentinel in sentinels.sentinels]
    for call_policy in doors:
        stack.callback(call_policy.stop)
    hosts = ",".join(f"localhost:{call_policy.port}" for call_policy in doors)
    url = f"rediss+sentinel://{hosts}/{SERVICE}?ssl_ca_certs={authority.file}&sentinel_ssl_ca_certs={guards.file}"
    nodes = [start_node(redis=url, grace=30) for _ in range(2)]
    chat(guests, *nodes)
    old = sentinels.primary
    assert old is not None
    old.process.kill()
    wait_until(lambda: sentinels.primary not in (None, old), "sentinels name another primary", 30)
    wait_until(lambda: [node.readiness() for node in nodes] == [200, 200], "both are ready again", BACK)
    guests.text_when_free(nodes[0], "carol", 2 * LEASE + BACK)


# --- changes while nodes run


def test_renewed_certificates_are_followed(
    guests: Guests,
    start_node: StartNode,
    own_redis: RedisServer,
    authority: Authority,
    tmp_path: Path,
    stack: ExitStack,
) -> None:
    """Both sides get a new authority: the one of the server's certificate, and the one of the node's own."""
    (tmp_path / "new").mkdir()
    new = Authority(tmp_path / "new")
    bundle, cert, key = (tmp_path / name for name in ("trusted.pem", "shown.crt", "shown.key"))

    def install(ours: Authority) -> None:
        for file, source in zip((bundle, cert, key), (ours.file, *ours.issue("node")), strict=True):
            shutil.copy(source, file)

    install(authority)
    front = TlsProxy(own_redis.port, authority.issue("redis"), authority.file)
    stack.callback(front.stop)
    url = f"rediss://localhost:{front.port}?ssl_ca_certs={bundle}&ssl_certfile={cert}&ssl_keyfile={key}"
    node = start_node(redis=url)
    guests.text_when_free(node, "alice", 2 * LEASE)
    front.show(new.issue("redis"), new.file)
    front.switch(own_redis.port)  # all connections break
    node.wait_for_line("certificate verify failed")
    install(new)
    wait_until(lambda: node.readiness() == 200, "it is ready again", BACK)
    guests.text_when_free(node, "bob", 2 * LEASE)
    key.write_text("nonsense")
    node.hang_up()
    node.wait_for_line("not reloaded")
    before = subscribers(own_redis)
    front.switch(own_redis.port)
    wait_until(lambda: subscribers(own_redis) - before, "it has the files of before", BACK)
    wait_until(lambda: node.readiness() == 200, "it is ready again", BACK)


def subscribers(server: RedisServer) -> set[str]:
    """Return the connections that have subscribed to something."""
    return {str(one["id"]) for one in server.client().client_list(_type="pubsub")}


@pytest.mark.parametrize("user", ["", "relay@"], ids=["requirepass", "an ACL user"])
def test_a_rotated_password_is_followed(
    guests: Guests, start_node: StartNode, tmp_path: Path, user: str, stack: ExitStack
) -> None:
    server = RedisServer(tmp_path / "server", ["--requirepass", "one"])
    stack.callback(server.stop)
    admin = server.client()

    def rotate(password: str) -> None:
        if user:
            admin.execute_command("ACL", "SETUSER", "relay", "on", "resetpass", f">{password}", "~*", "&*", "+@all")  # type: ignore[no-untyped-call]
        else:
            admin.config_set("requirepass", password)

    rotate("one")
    file = tmp_path / "password"
    file.write_text("one\n")
    node = start_node(redis=f"redis://{user}{HOST}:{server.port}/0", redis_password_file=file)
    guests.text_when_free(node, "alice", 2 * LEASE)
    rotate("two")
    file.write_text("two\n")
    for kind in ("normal", "pubsub"):
        admin.client_kill_filter(_type=kind, skipme=True)
    node.wait_for_line("bus connection lost")
    wait_until(lambda: node.readiness() == 200, "it is ready again", BACK)
    guests.text_when_free(node, "bob", 2 * LEASE)
    rotate("one")  # RedisServer checks its keys with this at the end
