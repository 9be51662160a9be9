"""Sentinels in the model: what the relay asks them, and when they replace a primary."""

from random import Random

import pytest

from relay.redis_client.reply_to_dict import pairs
from simulator.redis import Sentinel, Sentinels, Server
from tests.simulator.redis.dialogue import Client, Clock, new_server, refusal

TICK = 0.1


class World:
    """Two servers, three sentinels, and the time that passes for them."""

    def __init__(self, sentinels: int = 3) -> None:
        self.clock = Clock()
        self.now = 0.0
        self.servers = [new_server(self.clock, number, 6379 + number) for number in range(3)]
        self.guards = [Sentinel(self.clock, Random(number), port=26_379 + number) for number in range(sentinels)]
        self.sentinels = Sentinels(self.guards, self.servers, lambda: self.now, Random(5))

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            self.clock.now += TICK
            for server in self.servers:
                server.tick()
            self.sentinels.tick()

    def named(self) -> list[int]:
        """The ports of the primaries that the sentinels name."""
        return [
            int(Client(guard).ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "relay")[1])
            for guard in self.guards
            if guard.alive
        ]


@pytest.fixture
def world() -> World:
    world = World()
    world.wait(1)
    return world


def primaries(world: World) -> list[Server]:
    return [server for server in world.servers if server.alive and server.replication.primary is None]


def test_sentinels_answer_all_that_the_relay_asks(world: World) -> None:
    client = Client(world.guards[0])
    assert client.ask("PING") == b"PONG"
    assert client.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "relay") == [b"127.0.0.1", b"6379"]
    assert pairs(client.ask("SENTINEL", "MASTER", "relay"))[b"config-epoch"] == b"0"
    others = [pairs(row) for row in client.ask("SENTINEL", "SENTINELS", "relay")]
    assert [(other[b"ip"], other[b"port"]) for other in others] == [(b"127.0.0.1", b"26380"), (b"127.0.0.1", b"26381")]
    own = [Client(guard).ask("SENTINEL", "MYID") for guard in world.guards]
    assert [other[b"runid"] for other in others] == own[1:]
    assert client.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "other") is None
    assert client.raw == b"*-1\r\n"
    assert refusal(client.ask("SENTINEL", "MASTER", "other")) == "ERR No such master with that name"
    assert refusal(client.ask("GET", "a")).startswith("ERR unknown command")
    assert client.ask("ROLE") == [b"sentinel", [b"relay"]]


def test_a_primary_that_is_gone_is_replaced(world: World) -> None:
    subscriber, kept = Client(world.guards[0]), Client(world.servers[1])
    subscriber.ask("SUBSCRIBE", "+switch-master")
    Client(world.servers[0]).ask("SET", "a", "b")
    world.servers[0].kill()
    world.wait(8)
    (primary,) = primaries(world)
    assert Client(primary).ask("GET", "a") == b"b"
    assert world.named() == [primary.port] * 3
    told = b"relay 127.0.0.1 6379 127.0.0.1 %d" % primary.port
    assert subscriber.heard() == [[b"message", b"+switch-master", told]]
    assert kept.closed or primary is not world.servers[1]
    assert pairs(Client(world.guards[2]).ask("SENTINEL", "MASTER", "relay"))[b"config-epoch"] == b"1"
    Client(primary).ask("SET", "a", "c")
    assert [Client(server).ask("GET", "a") for server in world.servers[1:]] == [b"c", b"c"]


def test_a_replaced_primary_that_comes_back_is_a_primary_for_a_while_and_then_a_replica(world: World) -> None:
    old = world.servers[0]
    old.freeze()
    world.wait(8)
    old.thaw()
    client = Client(old)
    world.wait(1)
    assert client.ask("SET", "a", "lost") == b"OK"
    world.wait(10)
    assert client.closed
    assert old not in primaries(world)
    assert Client(old).ask("GET", "a") is None


def test_a_short_silence_is_no_reason(world: World) -> None:
    for _ in range(10):
        world.servers[0].freeze()
        world.wait(0.9)
        world.servers[0].thaw()
        world.wait(0.5)
    assert world.named() == [6379] * 3
    assert world.sentinels.failovers == 0


def test_a_minority_replaces_nobody(world: World) -> None:
    for guard in world.guards[1:]:
        guard.kill()
    world.servers[0].kill()
    world.wait(20)
    assert primaries(world) == []
    for guard in world.guards[1:]:
        guard.restart()
    world.wait(20)
    assert len(primaries(world)) == 1
    assert len(set(world.named())) == 1


def test_a_quorum_without_a_majority_replaces_nobody() -> None:
    world = World(sentinels=5)
    world.wait(1)
    for guard in world.guards[2:]:
        guard.kill()
    world.servers[0].kill()
    world.wait(20)
    assert primaries(world) == []


def test_a_primary_that_only_one_sentinel_misses_stays(world: World) -> None:
    deaf = world.guards[0]
    world.sentinels.reaches = lambda one, other: (
        (one, other) != (deaf, world.servers[0]) and other.alive and not other.frozen
    )
    world.wait(20)
    assert world.sentinels.failovers == 0


def test_a_sentinel_that_is_cut_off_has_an_old_view(world: World) -> None:
    stray = world.guards[0]
    world.sentinels.reaches = lambda one, other: (
        one is not stray and other is not stray and other.alive and not other.frozen
    )
    world.servers[0].kill()
    world.wait(10)
    assert world.named()[0] == 6379
    assert len(set(world.named()[1:])) == 1
    assert world.named()[1] != 6379


def test_a_live_primary_can_be_replaced_by_order(world: World) -> None:
    old = world.servers[0]
    assert Client(world.guards[1]).ask("SENTINEL", "FAILOVER", "relay") == b"OK"
    assert refusal(Client(world.guards[1]).ask("SENTINEL", "FAILOVER", "relay")).startswith("INPROG ")
    world.wait(4)
    assert world.named()[0] != 6379
    assert old in primaries(world)
    world.wait(10)
    assert len(primaries(world)) == 1
    assert old.replication.linked


# private: who leads the failover is known to the sentinels only
def test_a_failover_whose_leader_dies_is_made_good(world: World) -> None:
    world.servers[0].kill()
    for _ in range(100):
        world.wait(TICK)
        if primaries(world):
            break
    assert world.sentinels._promoted is not None
    world.sentinels._promoted[1].kill()
    world.wait(40)
    assert world.sentinels.failovers == 1
    assert len(primaries(world)) == 1
    assert set(world.named()) == {primaries(world)[0].port}
