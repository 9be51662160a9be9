"""A cluster in the model: who serves what, what clients are told, and what comes of failures."""

from itertools import count
from random import Random
from typing import Any

import pytest

from relay.redis_client.reply_to_dict import info, text
from relay.redis_client.slot_map import Map, merged, read, redirection
from simulator.redis import Cluster, Server
from simulator.redis.slots import SLOTS, slot_of
from tests.simulator.redis.dialogue import Client, Clock, new_server, refusal

TICK = 0.1
PORT = 7000


class World:
    """Three primaries with a replica each, and the time that passes for them."""

    def __init__(self, seed: int = 5) -> None:
        self.clock = Clock()
        self.now = 0.0
        self.servers = [new_server(self.clock, number, PORT + number) for number in range(6)]
        self.cluster = Cluster(self.servers, lambda: self.now, Random(seed))
        self.wait(1)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            self.clock.now += TICK
            for server in self.servers:
                server.tick()
            self.cluster.tick()

    def seen(self, server: Server) -> Map:
        """The map that the relay makes of one member's view."""
        client = Client(server)
        lines = text(client.ask("CLUSTER", "NODES"))
        return merged([read(client.ask("CLUSTER", "SLOTS"), lines, f"127.0.0.1:{server.port}")])

    def home(self, name: str, unless: Server | None = None) -> Server:
        """The server of a key, as another one sees it."""
        asked = next(server for server in self.servers if server is not unless and server.alive and not server.frozen)
        home = self.seen(asked).homes[slot_of(name.encode())]
        return next(server for server in self.servers if home == f"127.0.0.1:{server.port}")

    def replica_of(self, server: Server) -> Server:
        return next(one for one in self.servers if one.replication.primary is server)

    def ask(self, server: Server, *words: str | bytes | int) -> Any:
        return Client(server).ask(*words)


@pytest.fixture
def world() -> World:
    return World()


def test_all_members_agree_on_the_slots(world: World) -> None:
    maps = [world.seen(server) for server in world.servers]
    assert maps == [maps[0]] * 6
    assert None not in maps[0].homes
    assert maps[0].primaries == {f"127.0.0.1:{PORT + number}" for number in range(3)}
    assert maps[0].members == {f"127.0.0.1:{server.port}" for server in world.servers}
    fields = info(world.ask(world.servers[4], "CLUSTER", "INFO"))
    assert (fields["cluster_state"], fields["cluster_slots_ok"], fields["cluster_known_nodes"]) == ("ok", SLOTS, 6)


def test_a_key_is_served_by_its_primary_only(world: World) -> None:
    home = world.home("a")
    assert world.ask(home, "SET", "a", "b") == b"OK"
    for server in world.servers:
        if server is not home:
            why = refusal(world.ask(server, "EVAL", "return redis.call('GET', KEYS[1])", 1, "a"))
            moved = redirection(why, f"127.0.0.1:{server.port}")
            assert moved is not None
            assert (moved.slot, moved.home, moved.asking) == (slot_of(b"a"), f"127.0.0.1:{home.port}", False)


def test_keys_of_two_slots_are_refused(world: World) -> None:
    assert refusal(world.ask(world.home("a"), "DEL", "a", "b")).startswith("CROSSSLOT ")
    assert world.ask(world.home("a"), "DEL", "{a}b", "{a}c") == 0


def test_a_replica_is_read_if_it_is_asked_to(world: World) -> None:
    home = world.home("a")
    world.ask(home, "SET", "a", "b")
    reader = Client(world.replica_of(home))
    assert refusal(reader.ask("GET", "a")).startswith("MOVED ")
    reader.ask("READONLY")
    assert reader.ask("GET", "a") == b"b"
    assert refusal(reader.ask("SET", "a", "b")).startswith("MOVED ")


class TestChannels:
    def test_a_sharded_channel_is_served_by_its_shard(self, world: World) -> None:
        home = world.home("inbox")
        subscriber, stranger = Client(home), Client(next(one for one in world.servers[:3] if one is not home))
        assert subscriber.ask("SSUBSCRIBE", "inbox") == [b"ssubscribe", b"inbox", 1]
        assert refusal(stranger.ask("SSUBSCRIBE", "inbox")).startswith("MOVED ")
        assert refusal(stranger.ask("SPUBLISH", "inbox", "x")).startswith("MOVED ")
        assert world.ask(home, "SPUBLISH", "inbox", "x") == 1
        assert world.ask(world.replica_of(home), "SPUBLISH", "inbox", "y") == 0
        assert subscriber.heard() == [[b"smessage", b"inbox", b"x"], [b"smessage", b"inbox", b"y"]]

    def test_an_ordinary_channel_is_heard_everywhere(self, world: World) -> None:
        subscribers = [Client(server) for server in world.servers]
        for subscriber in subscribers:
            subscriber.ask("SUBSCRIBE", "everyone")
        assert world.ask(world.servers[4], "PUBLISH", "everyone", "x") == 1
        assert [subscriber.heard() for subscriber in subscribers] == [[[b"message", b"everyone", b"x"]]] * 6

    def test_messages_on_their_way_to_another_member_keep_their_order(self, world: World) -> None:
        steps: list[Any] = []
        world.cluster.later = steps.append
        subscriber = Client(world.servers[1])
        subscriber.ask("SUBSCRIBE", "everyone")
        for word in ("x", "y"):
            world.ask(world.servers[0], "PUBLISH", "everyone", word)
        assert subscriber.heard() == []
        for step in reversed(steps):
            step()
        assert [message[2] for message in subscriber.heard()] == [b"x", b"y"]

    def test_a_frozen_member_hears_later_what_was_published(self, world: World) -> None:
        subscriber = Client(world.servers[1])
        subscriber.ask("SUBSCRIBE", "everyone")
        world.servers[1].freeze()
        world.ask(world.servers[0], "PUBLISH", "everyone", "x")
        world.wait(0.5)
        assert subscriber.heard() == []
        world.servers[1].thaw()
        world.wait(0.1)
        assert subscriber.heard() == [[b"message", b"everyone", b"x"]]


class TestFailover:
    def test_the_replica_of_a_dead_primary_takes_its_slots(self, world: World) -> None:
        home = world.home("a")
        world.ask(home, "SET", "a", "b")
        replica = world.replica_of(home)
        home.kill()
        world.wait(0.5)
        assert refusal(world.ask(replica, "GET", "a")) == f"MOVED {slot_of(b'a')} 127.0.0.1:{home.port}"
        world.wait(5)
        assert world.home("a") is replica
        assert world.ask(replica, "GET", "a") == b"b"
        views = [read(*self.answers(server)) for server in world.servers if server.alive]
        claims = {(claim.epoch, claim.home) for view in views for claim in view.claims}
        assert max(claims) == (7, f"127.0.0.1:{replica.port}")

    def answers(self, server: Server) -> tuple[Any, str, str]:
        client = Client(server)
        return client.ask("CLUSTER", "SLOTS"), text(client.ask("CLUSTER", "NODES")), f"127.0.0.1:{server.port}"

    def test_while_a_slot_has_no_primary_the_cluster_is_down_and_channels_work(self, world: World) -> None:
        home = world.home("a")
        other = next(server for server in world.servers[:3] if server is not home)
        key = next(f"k{number}" for number in range(1000) if world.home(f"k{number}") is other)
        world.replica_of(home).kill()
        home.kill()
        world.wait(5)
        assert refusal(world.ask(other, "GET", key)) == "CLUSTERDOWN The cluster is down"
        assert world.ask(other, "SPUBLISH", key, "x") == 0

    def test_a_primary_that_comes_back_is_a_replica(self, world: World) -> None:
        home = world.home("a")
        replica = world.replica_of(home)
        home.kill()
        world.wait(5)
        world.ask(replica, "SET", "a", "new")
        home.restart()
        world.wait(3)
        assert home.replication.primary is replica
        assert world.seen(home) == world.seen(replica)
        reader = Client(home)
        reader.ask("READONLY")
        assert reader.ask("GET", "a") == b"new"

    def test_subscribers_of_a_replaced_primary_are_told_to_go(self, world: World) -> None:
        home = world.home("inbox")
        subscriber = Client(home)
        subscriber.ask("SSUBSCRIBE", "inbox")
        world.cluster.switch(world.replica_of(home))
        world.wait(1)
        assert subscriber.heard() == [[b"sunsubscribe", b"inbox", 0]]
        assert subscriber.ask("SSUBSCRIBE", "inbox") == [b"ssubscribe", b"inbox", 1]  # as the replica that it is now
        assert world.ask(world.home("inbox"), "SPUBLISH", "inbox", "x") == 0
        assert subscriber.heard() == [[b"smessage", b"inbox", b"x"]]

    def test_a_switch_loses_nothing(self, world: World) -> None:
        home = world.home("a")
        replica = world.replica_of(home)
        steps: list[Any] = []
        replica.replication.later = steps.append
        world.ask(home, "SET", "a", "b")
        world.cluster.switch(replica)
        world.wait(1)
        assert world.ask(world.home("a"), "GET", "a") == b"b"
        assert home.replication.primary is replica

    def test_a_primary_that_restarts_at_once_serves_no_key_for_a_moment(self, world: World) -> None:
        home = world.home("a")
        home.kill()
        home.restart()
        assert refusal(world.ask(home, "GET", "a")) == "CLUSTERDOWN The cluster is down"
        world.wait(3)
        assert world.ask(home, "GET", "a") is None

    def test_all_primaries_are_replaced_one_after_another(self, world: World) -> None:
        for server in world.servers[:3]:
            replica = world.replica_of(server)
            server.kill()
            world.wait(6)
            assert world.home("a", unless=server).alive
            server.restart()
            world.wait(3)
            assert server.replication.primary is replica
        assert world.seen(world.servers[0]).primaries == {f"127.0.0.1:{PORT + number}" for number in (3, 4, 5)}

    def test_a_primary_that_froze_as_soon_as_it_had_another_slot_is_replaced(self, world: World) -> None:
        """Its replica hasn't heard of its new epoch from itself, and the others wouldn't vote for an old one."""
        other, frozen = world.cluster.members[:2]
        slot = other.owners.of(other.id)[0]
        world.cluster.begin_move(slot, frozen.server)
        assert world.cluster.end_move(slot)
        replica = world.cluster.member(world.replica_of(frozen.server))
        frozen.server.freeze()
        world.wait(10)
        assert replica.me.primary is None
        assert {member.owners[slot] for member in world.cluster.members if member is not frozen} == {replica.id}

    def test_without_most_primaries_nobody_is_replaced(self, world: World) -> None:
        for server in world.servers[:2]:
            server.kill()
        world.wait(10)
        assert world.cluster.failovers == 0
        assert info(world.ask(world.servers[2], "CLUSTER", "INFO"))["cluster_state"] == "fail"

    def test_a_primary_that_dies_between_failure_and_election_has_no_vote(self, world: World) -> None:
        world.servers[0].kill()
        witness = world.cluster.members[2]
        while witness.peers[world.cluster.members[0].id].failed is None:
            world.wait(TICK)
        world.servers[1].kill()
        world.wait(20)
        assert world.cluster.failovers == 0

    def test_a_primary_that_one_other_misses_stays(self, world: World) -> None:
        deaf = {world.servers[0], world.servers[1]}
        world.cluster.reaches = lambda one, other: {one, other} != deaf
        world.wait(20)
        assert world.cluster.failovers == 0
        assert "fail?" in text(world.ask(world.servers[0], "CLUSTER", "NODES"))


class TestIsolation:
    def test_a_primary_that_is_back_with_the_others_serves_after_a_moment(self, world: World) -> None:
        home = world.home("a")
        world.replica_of(home).kill()
        world.cluster.cut_off(home)
        world.wait(5)
        world.cluster.heal()
        world.wait(0.5)
        assert refusal(world.ask(home, "GET", "a")) == "CLUSTERDOWN The cluster is down"
        world.wait(3)
        assert world.ask(home, "GET", "a") is None

    def test_an_isolated_primary_goes_on_until_it_notices(self, world: World) -> None:
        home = world.home("a")
        replica = world.replica_of(home)
        subscriber = Client(home)
        subscriber.ask("SSUBSCRIBE", "{a}inbox")
        world.cluster.cut_off(home)
        world.wait(0.8)
        assert world.ask(home, "SET", "a", "old") == b"OK"
        world.wait(5)
        assert refusal(world.ask(home, "GET", "a")) == "CLUSTERDOWN The cluster is down"
        assert world.ask(home, "SPUBLISH", "{a}inbox", "x") == 1
        assert world.ask(world.home("a", unless=home), "SET", "a", "new") == b"OK"
        assert world.home("a", unless=home) is replica
        assert world.seen(home).homes[slot_of(b"a")] == f"127.0.0.1:{home.port}"
        assert subscriber.heard() == [[b"smessage", b"{a}inbox", b"x"]]
        world.cluster.heal()
        world.wait(2)
        assert home.replication.primary is replica
        assert subscriber.heard() == [[b"sunsubscribe", b"{a}inbox", 0]]
        reader = Client(home)
        reader.ask("READONLY")
        assert reader.ask("GET", "a") == b"new"


class TestMovingSlots:
    def test_keys_are_found_on_both_sides_while_a_slot_moves(self, world: World) -> None:
        home = world.home("{a}1")
        target = next(server for server in world.servers[:3] if server is not home)
        for key in ("{a}1", "{a}2"):
            world.ask(home, "SET", key, "v", "PX", 10_000)
        slot = slot_of(b"a")
        world.cluster.begin_move(slot, target)
        assert world.ask(home, "GET", "{a}1") == b"v"
        assert refusal(world.ask(home, "GET", "{a}3")) == f"ASK {slot} 127.0.0.1:{target.port}"
        assert refusal(world.ask(target, "GET", "{a}3")).startswith("MOVED ")
        client = Client(target)
        assert client.ask("ASKING") == b"OK"
        assert client.ask("SET", "{a}3", "w") == b"OK"
        assert refusal(client.ask("GET", "{a}3")).startswith("MOVED ")
        assert world.cluster.move_keys(slot, 1) == 1
        assert refusal(world.ask(home, "EXISTS", "{a}1", "{a}2")).startswith("TRYAGAIN ")
        assert world.cluster.move_keys(slot) == 0
        world.cluster.end_move(slot)
        assert [world.ask(target, "GET", key) for key in ("{a}1", "{a}2", "{a}3")] == [b"v", b"v", b"w"]
        assert world.ask(target, "PTTL", "{a}1") == 10_000
        assert refusal(world.ask(home, "GET", "{a}1")) == f"MOVED {slot} 127.0.0.1:{target.port}"
        world.wait(0.2)
        assert world.home("{a}1") is target
        replica = Client(world.replica_of(target))
        replica.ask("READONLY")
        assert replica.ask("GET", "{a}2") == b"v"

    def test_subscribers_are_told_to_go(self, world: World) -> None:
        home = world.home("inbox")
        target = next(server for server in world.servers[:3] if server is not home)
        subscriber, other = Client(home), Client(home)
        subscriber.ask("SSUBSCRIBE", "inbox")
        world.cluster.begin_move(slot_of(b"inbox"), target)
        assert world.ask(home, "SPUBLISH", "inbox", "x") == 1
        world.cluster.end_move(slot_of(b"inbox"))
        assert subscriber.heard() == [[b"smessage", b"inbox", b"x"], [b"sunsubscribe", b"inbox", 0]]
        assert refusal(other.ask("SSUBSCRIBE", "inbox")).startswith("MOVED ")
        assert world.ask(target, "SPUBLISH", "inbox", "x") == 0

    def test_a_move_ends_when_one_side_has_failed(self, world: World) -> None:
        home = world.home("a")
        target = next(server for server in world.servers[:3] if server is not home)
        world.ask(home, "SET", "a", "b")
        world.cluster.begin_move(slot_of(b"a"), target)
        replica = world.replica_of(home)
        home.kill()
        world.wait(6)
        assert world.cluster.move_keys(slot_of(b"a")) == 0
        assert not world.cluster.end_move(slot_of(b"a"))
        assert world.home("a") is replica
        assert world.ask(replica, "GET", "a") == b"b"
        assert world.ask(target, "ASKING") == b"OK"
        assert refusal(world.ask(target, "GET", "a")).startswith("MOVED ")

    def test_all_learn_of_one_whose_former_owner_took_another_slot_before_they_heard_of_it(self) -> None:
        """The former owner has the higher epoch then: of two equal ones, that of the lower id is raised."""
        world = next(made for made in map(World, count()) if made.cluster.members[0].id < made.cluster.members[1].id)
        old, new = world.cluster.members[:2]
        moves = {old.owners.of(old.id)[0]: new, new.owners.of(new.id)[0]: old}
        for slot, target in moves.items():
            world.cluster.begin_move(slot, target.server)
            assert world.cluster.end_move(slot)
        world.wait(1)
        for slot, target in moves.items():
            assert {member.owners[slot] for member in world.cluster.members} == {target.id}

    def test_keys_of_a_slot_that_is_lost_unheard_are_dropped(self, world: World) -> None:
        home = world.home("a")
        target = next(server for server in world.servers[:3] if server is not home)
        world.ask(home, "SET", "a", "b")
        winner = world.cluster.member(target)
        winner.assign(slot_of(b"a"), winner.id)
        winner.epoch = winner.me.epoch = 9
        world.wait(0.2)
        assert refusal(world.ask(home, "GET", "a")).startswith("MOVED ")
        assert b"a" not in home.databases[0].data

    def test_a_failover_after_a_move_keeps_the_slot_where_it_went(self, world: World) -> None:
        home = world.home("a")
        target = next(server for server in world.servers[:3] if server is not home)
        world.ask(home, "SET", "a", "b")
        world.cluster.begin_move(slot_of(b"a"), target)
        world.cluster.move_keys(slot_of(b"a"))
        world.cluster.end_move(slot_of(b"a"))
        world.wait(1)
        replica = world.replica_of(target)
        target.kill()
        world.wait(6)
        assert world.home("a") is replica
        assert world.ask(replica, "GET", "a") == b"b"


def test_a_script_may_use_the_keys_of_its_server_only(world: World) -> None:
    home = world.home("a")
    names = [f"k{number}" for number in range(100)]
    here, elsewhere = (next(name for name in names if (world.home(name) is home) is own) for own in (True, False))
    get = "return redis.call('GET', ARGV[1])"
    assert world.ask(home, "EVAL", get, 1, "a", here) is None
    assert "non local key" in refusal(world.ask(home, "EVAL", get, 1, "a", elsewhere))


def test_a_server_without_a_cluster_says_so() -> None:
    client = Client(new_server())
    assert refusal(client.ask("CLUSTER", "SLOTS")) == "ERR This instance has cluster support disabled"
    assert refusal(client.ask("ASKING")) == "ERR This instance has cluster support disabled"
