"""The model of a sentinel is held to a real one: what the relay asks gets the same answer from both."""

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import hiredis
import pytest

from relay.redis_client.dialing import pack
from relay.redis_client.reply_to_dict import pairs
from simulator.redis import Sentinel, Sentinels, Server
from tests.simulator.redis.dialogue import Client, Clock
from tests.simulator.redis.sides import RealLine, Sides, alike
from tests.support.sentinels import Sentinel as RealSentinel
from tests.support.server import RedisServer

COMMANDS: list[tuple[str | bytes | int, ...]] = [
    ("PING",),
    ("PING", "x"),
    ("AUTH", "x"),
    ("SENTINEL",),
    ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "relay"),
    ("sentinel", "get-master-addr-by-name", "relay"),
    ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "other"),
    ("SENTINEL", "GET-MASTER-ADDR-BY-NAME"),
    ("SENTINEL", "MASTER", "other"),
    ("SENTINEL", "MASTER"),
    ("SENTINEL", "SENTINELS", "relay"),
    ("SENTINEL", "SENTINELS", "other"),
    ("SENTINEL", "REPLICAS", "relay"),
    ("SENTINEL", "REPLICAS", "other"),
    ("SENTINEL", "MYID", "x"),
    ("SENTINEL", "FAILOVER", "other"),
    ("SENTINEL", "NOTHING", "x"),
    ("GET", "a"),
    ("SET", "a", "b"),
    ("EVALSHA", "x", 0),
    ("ROLE",),
    ("SUBSCRIBE", "+switch-master"),
    ("PING",),
    ("UNSUBSCRIBE",),
    ("CLIENT", "SETNAME", "x"),
    ("HELLO", 3),
    ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "other"),
    ("SENTINEL", "SENTINELS", "relay"),
    ("HELLO", 2),
    ("CLIENT", "REPLY", "ON"),
    ("INFO", "nothing"),
    *((name,) for name in ("QUIT", "RESET", "TIME", "READONLY")),
    *((name, "x") for name in ("ECHO", "SELECT", "SSUBSCRIBE", "PUBSUB")),
    *((name, "x", "y") for name in ("PUBLISH", "SPUBLISH", "CONFIG", "SENTINEL")),
]


@pytest.fixture
def real(own_redis: RedisServer, tmp_path: Path) -> Iterator[RealSentinel]:
    sentinel = RealSentinel(tmp_path / "sentinel", own_redis.port)
    yield sentinel
    sentinel.stop()


@pytest.fixture
def model(own_redis: RedisServer) -> Sentinel:
    sentinel = Sentinel(time.time, Random(1))
    Sentinels([sentinel], [Server(Clock(), Random(2), port=own_redis.port)], lambda: 0.0, Random(3))
    return sentinel


def test_the_same_is_answered(real: RealSentinel, model: Sentinel) -> None:
    sides = Sides([(real, model)])
    try:
        for command in COMMANDS:
            said, modelled = sides.step(0, pack(command))
            assert alike(said, modelled), f"{command}\n{said!r}\n{modelled!r}"
    finally:
        sides.close()


def test_a_primary_is_described_with_the_same_fields(real: RealSentinel, model: Sentinel) -> None:
    question = ("SENTINEL", "MASTER", "relay")
    line, reader = RealLine(real), hiredis.Reader()
    reader.feed(line.exchange(pack(question) + pack(("PING", "last")), b"last"))
    line.close()
    theirs, own = pairs(reader.gets()), pairs(Client(model).ask(*question))
    del own[b"runid"]  # each server's own
    for name in (b"num-other-sentinels", b"quorum", b"failover-timeout"):  # as each is set up
        del own[name]
    assert own.items() <= theirs.items()
