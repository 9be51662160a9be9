"""Redis answers and refuses: nodes report that steadily, with its words and address, and in few lines of the log."""

import re
import shutil
import time
from collections.abc import Callable

import pytest
import redis

from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.party import LEASE
from tests.support.process import wait_until
from tests.support.server import RedisServer

SAID = LEASE + 4.0  # seconds until a node reports that it isn't ready
WATCHED = 2.0  # seconds in which it must report nothing else; connections used to be replaced every 1.5 s
LINES = 12  # lines of one node's log about the trouble in all that time
USER = "node"

Deed = Callable[[RedisServer, redis.Redis], None]


def narrow_rights(server: RedisServer, client: redis.Redis) -> None:
    client.acl_setuser(USER, enabled=True, commands=["-publish"])


def widen_rights(server: RedisServer, client: redis.Redis) -> None:
    client.acl_setuser(USER, enabled=True, commands=["+publish"])


def fill(server: RedisServer, client: redis.Redis) -> None:
    client.config_set("maxmemory", 1)


def make_room(server: RedisServer, client: redis.Redis) -> None:
    client.config_set("maxmemory", 0)


def pause_writes(server: RedisServer, client: redis.Redis) -> None:
    client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")  # type: ignore[no-untyped-call]


def end_pause(server: RedisServer, client: redis.Redis) -> None:
    client.execute_command("CLIENT", "UNPAUSE")  # type: ignore[no-untyped-call]


def lose_the_disk(server: RedisServer, client: redis.Redis) -> None:
    shutil.rmtree(server.folder)
    client.config_set("save", "3600 1")
    client.bgsave()
    wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "a snapshot failed")


def do_without_it(server: RedisServer, client: redis.Redis) -> None:
    server.folder.mkdir()
    client.config_set("save", "")


def miss_a_replica(server: RedisServer, client: redis.Redis) -> None:
    client.config_set("min-replicas-to-write", 1)


def need_none(server: RedisServer, client: redis.Redis) -> None:
    client.config_set("min-replicas-to-write", 0)


@pytest.mark.parametrize(
    ("refuse", "accept", "why"),
    [
        (narrow_rights, widen_rights, r"can't publish: {server} refuses: NOPERM .*"),
        (fill, make_room, r"no new names: Redis at {server} refuses new data: OOM .*"),
        (pause_writes, end_pause, r"(no lease: Redis is away|can't publish): .*{server}.*|no lease: Redis is away: .*"),
        (lose_the_disk, do_without_it, r"no lease: Redis refuses: .*MISCONF .*"),
        pytest.param(  # refused as without its disk
            *(miss_a_replica, need_none, r"no lease: Redis refuses: .*NOREPLICAS .*"), marks=pytest.mark.slow
        ),
    ],
    ids=lambda it: getattr(it, "__name__", ""),
)
def test_a_node_is_not_ready_for_as_long_as_redis_refuses_and_says_why(
    start_node: StartNode, own_redis: RedisServer, guests: Guests, refuse: Deed, accept: Deed, why: str
) -> None:
    with own_redis.client() as client:
        client.acl_setuser(USER, enabled=True, nopass=True, keys=["*"], channels=["*"], commands=["+@all"])
        url = own_redis.url.replace("//", f"//{USER}:any@")
        nodes = [start_node(redis=url) for _ in range(2)]
        alice, bob = guests.json(nodes[0], "alice"), guests.json(nodes[1], "bob")
        alice.call("bob")
        bob.expect("paired")
        before = {node.name: len(node.text().splitlines()) for node in nodes}
        refuse(own_redis, client)
        expected = re.compile(why.format(server=re.escape(f"127.0.0.1:{own_redis.port}")))
        for node in nodes:
            wait_until(lambda node=node: expected.fullmatch(node.trouble()), f"{node.name} says {why}", SAID)  # type: ignore[misc]
        assert steady(nodes, expected) == []
        accept(own_redis, client)
        for node in nodes:
            wait_until(lambda node=node: node.trouble() == "", f"{node.name} is ready again", SAID)  # type: ignore[misc]
            said = node.text().splitlines()[before[node.name] :]
            assert len(said) <= LINES, said
    alice.send("msg", id=1, text="still there?")
    bob.expect("msg", id=1, patience=SAID)
    alice.expect_acked(1)
    guests.text_when_free(nodes[0], "carol", SAID)


def steady(nodes: list[Node], expected: re.Pattern[str]) -> list[str]:
    """Return the other reports while the nodes are watched."""
    ends = time.monotonic() + WATCHED
    other = []
    while time.monotonic() < ends:
        other += [said for node in nodes if not expected.fullmatch(said := node.trouble())]
    return other
