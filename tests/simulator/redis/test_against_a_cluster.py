"""The model of a cluster is held to a real one: the same members get the same commands, also while a slot moves.

Only what members know at once is compared. What they tell each other takes a real cluster some time, and is compared
once it has come.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from redis.crc import key_slot

from relay.redis_client.client import Script
from relay.redis_client.dialing import pack
from relay.redis_client.reply_to_dict import info, text
from relay.tools.testbed.process import HOST
from relay.tools.testbed.topology_setup import PRIMARIES
from simulator.redis import Cluster, Server
from simulator.redis.slots import slot_of
from tests.simulator.redis.dialogue import Client, Clock
from tests.simulator.redis.sides import Sides, alike
from tests.support.cluster import RedisCluster
from tests.support.process import wait_until

NAMES = ["a", "b", "c", "{a}1", "{a}2", "{b}1", "{}", "}{", "a{b}c", "relay:{p1}", "relay:lease:n1"]
SCRIPT = "return {redis.call('GET', KEYS[1]) or 'none', #ARGV}"
STEPS = 250


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"), replicas=True)
    yield cluster
    for client in cluster.clients[:PRIMARIES]:
        client.flushall()
    cluster.stop()


@pytest.fixture
def model(real: RedisCluster) -> Cluster:
    """A cluster of the same shape, on the same ports."""
    servers = [Server(Clock(), Random(number), port=server.port) for number, server in enumerate(real.servers)]
    return Cluster(servers, lambda: 0.0, Random(7))


@pytest.fixture
def sides(real: RedisCluster, model: Cluster) -> Iterator[Sides]:
    for client in real.clients[:PRIMARIES]:
        client.flushall()
    members = [member.server for member in model.members]
    sides = Sides(list(zip(real.servers, members, strict=True)))
    yield sides
    sides.close()


def check(sides: Sides, number: int, *commands: tuple[str | bytes | int, ...]) -> bytes:
    """Send commands to both members of this number, and fail unless they say the same. Return it."""
    said, modelled = sides.step(number, b"".join(map(pack, commands)))
    assert alike(said, modelled), f"{number}: {commands}\n{said!r}\n{modelled!r}"
    return said


def draw(random: Random) -> tuple[str | bytes | int, ...]:
    """A command whose answer every member has at once."""
    one, other = random.choice(NAMES), random.choice(NAMES)
    return random.choice(
        [
            ("SET", one, other),
            ("DEL", one),
            ("DEL", one, other),
            ("HSET", f"{{{one}}}h", "f", other),
            ("HGET", f"{{{one}}}h", "f"),
            ("EVAL", SCRIPT, 1, one, other),
            ("EVAL", SCRIPT, 2, one, other),
            ("EVAL", "return redis.pcall('GET', ARGV[1])", 1, one, other),
            ("EVAL", "return redis.pcall('GET', ARGV[1])", 0, one),
            ("EVALSHA", Script("look").sha, 1, one),
            ("CLUSTER", "KEYSLOT", one),
            ("CLUSTER", "FOO"),
            ("CLUSTER", "MYID", "x"),
            ("ASKING",),
            ("READONLY",),
            ("READWRITE",),
            ("PUBLISH", one, other),
            ("PUBSUB", "SHARDCHANNELS"),
            ("PUBSUB", "SHARDNUMSUB", one),
            ("SELECT", 1),
            ("HELLO",),
            ("PING",),
        ]
    )


def test_members_carry_out_and_redirect_the_same(sides: Sides) -> None:
    random = Random(1)
    for _ in range(STEPS):
        number = random.randrange(PRIMARIES)
        check(sides, number, *(draw(random) for _ in range(random.randint(1, 3))))


def test_replicas_redirect_the_same(sides: Sides) -> None:
    """They are asked for what never was: when the rest reaches them is up to a real cluster."""
    random = Random(2)
    for _ in range(STEPS // 5):
        number, name = random.randrange(PRIMARIES, 2 * PRIMARIES), random.choice(NAMES)
        commands: list[tuple[str, ...]] = [
            ("GET", name), ("SET", name, "x"), ("READONLY",), ("GET", name), ("EXISTS", name, name), ("DEL", name),
            ("EVAL", SCRIPT, "1", name), ("EVAL", "return redis.call('SET', KEYS[1], 1)", "1", name), ("READWRITE",),
            ("SSUBSCRIBE", name), ("PUBSUB", "SHARDCHANNELS"), ("SUNSUBSCRIBE", name),
        ]  # fmt: skip
        check(sides, number, *commands)


def test_sharded_channels_are_served_by_the_same_members(sides: Sides) -> None:
    random = Random(3)
    for _ in range(STEPS // 5):
        number, name, other = random.randrange(PRIMARIES), random.choice(NAMES), random.choice(NAMES)
        check(sides, number, ("HELLO", 3), ("SSUBSCRIBE", name), ("SPUBLISH", name, "x"), ("SPUBLISH", other, "y"))
        check(sides, number, ("SSUBSCRIBE", name, other))
        check(sides, number, ("SUNSUBSCRIBE", random.choice(NAMES)))


def described(rows: Any, lines: str) -> object:
    """A member's answers to CLUSTER SLOTS and CLUSTER NODES, with ports in place of ids, and without what varies."""
    slots = [(first, last, [server[1] for server in servers]) for first, last, *servers in rows]
    words = [line.split() for line in lines.splitlines()]
    ports = {one[0]: one[1].partition("@")[0] for one in words} | {"-": "-"}
    return slots, sorted((ports[one[0]], one[2], ports[one[3]], one[7], *one[8:]) for one in words)


def test_members_describe_their_cluster_the_same(real: RedisCluster, model: Cluster) -> None:
    for client, member in zip(real.clients, model.members, strict=True):
        stand_in = Client(member.server)
        ask: Any = client.execute_command
        model_says = described(stand_in.ask("CLUSTER", "SLOTS"), text(stand_in.ask("CLUSTER", "NODES")))

        def agrees(ask: Any = ask, model_says: object = model_says) -> bool:
            return described(ask("CLUSTER", "SLOTS"), ask("CLUSTER", "NODES")) == model_says

        wait_until(agrees, "the real members know that all replicas are in sync")
        fields: Any = client.cluster("INFO")
        own = info(stand_in.ask("CLUSTER", "INFO"))
        names = [f"cluster_{name}" for name in ("state", "slots_assigned", "slots_ok", "known_nodes", "size")]
        assert [str(own[name]) for name in names] == [fields[name] for name in names]


def test_a_slot_moves_while_it_is_used(real: RedisCluster, model: Cluster, sides: Sides) -> None:
    slot = slot_of(b"a")
    old, new = (number for number in range(PRIMARIES) if real.servers[number] in (real.home("a"), real.home("b")))
    if real.servers[old] is not real.home("a"):
        old, new = new, old
    source, target = real.clients[old], real.clients[new]
    ids = source.cluster("MYID"), target.cluster("MYID")
    names = [f"{{a}}{number}" for number in range(4)]

    def look() -> None:
        for number in (old, new):
            check(sides, number, *(("GET", name) for name in names), ("EXISTS", *names), ("SPUBLISH", names[0], "x"))
            check(sides, number, *(word for name in names for word in (("ASKING",), ("GET", name))))
            check(sides, number, ("ASKING",), ("EXISTS", *names), ("EVAL", SCRIPT, 1, names[1]), ("PING",))

    check(sides, old, *(("SET", name, "v") for name in names[:2]), ("SSUBSCRIBE", names[0]))
    look()
    target.cluster("SETSLOT", slot, "IMPORTING", ids[0])
    source.cluster("SETSLOT", slot, "MIGRATING", ids[1])
    model.begin_move(slot, model.members[new].server)
    look()
    check(sides, new, ("ASKING",), ("SET", names[2], "w"))
    look()
    for name in names[:2]:
        source.migrate(HOST, real.servers[new].port, name, 0, 5000)
        model.move_keys(slot, 1)
        look()
    for client in (target, source):
        client.cluster("SETSLOT", slot, "NODE", ids[1])
    model.end_move(slot)
    look()


def test_slots_are_those_of_a_real_server(real: RedisCluster) -> None:
    random = Random(4)
    for _ in range(100):
        name = bytes(random.choices(b"{}ab\x00\xff:", k=random.randint(0, 8)))
        assert slot_of(name) == key_slot(name)
    ask: Any = real.clients[0].execute_command
    assert [ask("CLUSTER", "KEYSLOT", name) for name in NAMES] == [slot_of(name.encode()) for name in NAMES]
