"""Whatever happens to the servers of the model, in the end they agree again; and the same seed is the same history."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from random import Random

import pytest

from relay.redis_client.dialing import pack
from simulator.redis import Cluster, Sentinel, Sentinels, Server
from simulator.redis.slots import slot_of
from tests.simulator.redis.dialogue import Clock, new_server
from tests.support.examples import share
from tests.support.process import own_environment

TICK = 0.1
SEEDS = range(share(6))
STEPS = 80
QUIET = 60.0  # seconds in which everything has to be settled


class World:
    """Servers, what watches them, and what is done to them."""

    def __init__(self, seed: int, count: int) -> None:
        self.random = Random(seed)
        self.clock = Clock()
        self.now = 0.0
        self.servers = [new_server(self.clock, 10 * seed + number, 7000 + number) for number in range(count)]
        self.said = hashlib.sha256()

    def tick(self) -> None:
        """Let time pass for all."""
        self.now += TICK
        self.clock.now += TICK
        for server in self.servers:
            server.tick()

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.tick()

    def disturb(self) -> None:
        """Do something to a server, or ask it something."""
        server = self.random.choice(self.servers)
        if not server.alive:
            server.restart()
        elif server.frozen:
            server.thaw()
        else:
            what = self.random.random()
            if what < 0.2:
                server.kill() if what < 0.1 else server.freeze()
            else:
                self.use(server)
        self.wait(self.random.choice([0.1, 0.5, 1.5, 4.0]))

    def use(self, server: Server) -> None:
        """Ask a server something. What it says is a part of the history."""
        client = server.connect(self.said.update, lambda: None)
        key, words = f"k{self.random.randrange(30)}", [f"w{self.random.randrange(9)}" for _ in range(4)]
        for command in (
            ("HSET", key, *words), ("HDEL", key, *words), ("SET", words[0], key), ("PEXPIRE", key, 3000), ("KEYS", "*"),
            ("HGETALL", key), ("CLUSTER", "SLOTS"), ("CLUSTER", "NODES"), ("CLUSTER", "SHARDS"), ("INFO",), ("ROLE",),
        ):  # fmt: skip
            client.feed(pack(command))
        client.lost()

    def settle(self) -> None:
        """End all disturbances, and let everything come to rest."""
        for server in self.servers:
            if not server.alive:
                server.restart()
            server.thaw()
        self.wait(QUIET)

    def check_copies(self) -> None:
        """Check that every replica has the data of its primary."""
        for server in self.servers:
            primary = server.replication.primary
            if primary is not None:
                assert server.replication.linked
                assert [one.contents() for one in server.databases] == [one.contents() for one in primary.databases]


class ClusterWorld(World):
    """A cluster whose members die, freeze, are cut off, and give slots to each other."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, 6)
        self.cluster = Cluster(self.servers, lambda: self.now, self.random)
        self.moving: int | None = None  # a slot

    def tick(self) -> None:
        super().tick()
        self.cluster.tick()

    def disturb(self) -> None:
        what = self.random.random()
        if what < 0.1:
            self.cluster.cut_off(self.random.choice(self.servers))
        elif what < 0.2:
            self.cluster.heal()
        elif what < 0.3:
            self.move()
        else:
            super().disturb()

    def move(self) -> None:
        """Begin to move a slot between primaries, or go on with that."""
        if self.moving is not None and self.random.random() < 0.7:
            self.cluster.move_keys(self.moving, 1)
            if self.random.random() < 0.5:
                self.cluster.end_move(self.moving)
                self.moving = None
            return
        slot = slot_of(f"k{self.random.randrange(30)}".encode())
        primaries = [one for one in self.cluster.members if one.present and one.owners.count(one.id)]
        owners = [one for one in primaries if one.owners[slot] == one.id]
        if self.moving is None and owners and len(primaries) > 1:
            target = self.random.choice([one for one in primaries if one is not owners[0]])
            if target.owners[slot] == owners[0].id:
                self.cluster.begin_move(slot, target.server)
                self.moving = slot

    def settle(self) -> None:
        if self.moving is not None:
            self.cluster.end_move(self.moving)
        self.cluster.heal()
        super().settle()

    def check(self) -> None:
        """Check that all members have the same view, in which each slot has a live primary."""
        members = self.cluster.members
        owners = members[0].owners
        assert owners.whole
        for member in members:
            assert member.well
            assert [member.owners[slot] for slot in range(16384)] == [owners[slot] for slot in range(16384)]
            primary = member.me.primary
            assert (primary is None) == (member.id in owners.owners) == (member.server.replication.primary is None)
            if primary is not None:
                assert primary in owners.owners
                assert member.server.replication.primary is self.cluster.by_id[primary].server
        self.check_copies()


class SentinelWorld(World):
    """A primary and two replicas with three sentinels, all of which die and freeze."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, 3)
        self.guards = [Sentinel(self.clock, Random(number), port=26_379 + number) for number in range(3)]
        self.sentinels = Sentinels(self.guards, self.servers, lambda: self.now, self.random)

    def tick(self) -> None:
        super().tick()
        self.sentinels.tick()

    def disturb(self) -> None:
        guard = self.random.choice(self.guards)
        if self.random.random() < 0.8:
            super().disturb()
        elif guard.alive:
            guard.kill()
        else:
            guard.restart()

    def settle(self) -> None:
        for guard in self.guards:
            if not guard.alive:
                guard.restart()
        super().settle()

    def check(self) -> None:
        """Check that all sentinels name the only primary."""
        (primary,) = [server for server in self.servers if server.replication.primary is None]
        assert [guard.primary for guard in self.guards] == [primary] * 3
        self.check_copies()


Kind = Callable[[int], ClusterWorld | SentinelWorld]
KINDS: list[Kind] = [ClusterWorld, SentinelWorld]


def played(kind: Kind, seed: int) -> ClusterWorld | SentinelWorld:
    """A world to which everything has happened that this seed has."""
    world = kind(seed)
    for _ in range(STEPS):
        world.disturb()
    return world


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_in_the_end_all_agree(kind: Kind, seed: int) -> None:
    world = played(kind, seed)
    world.settle()
    world.check()


def history(seed: int) -> str:
    """A checksum of all that the servers have said."""
    return "".join(played(kind, seed).said.hexdigest() for kind in KINDS)


def test_the_same_seed_is_the_same_history() -> None:
    """Also in another process, where sets have another order."""
    own = history(1)
    assert own != history(2)
    command = [sys.executable, "-c", f"from {__name__} import history; print(history(1))"]
    for order in "12"[: share(2)]:
        environment = {**own_environment(), "PYTHONHASHSEED": order}
        result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=100)
        assert result.stdout.strip() == own
