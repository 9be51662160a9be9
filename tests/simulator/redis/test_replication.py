"""Replication in the model: what replicas have when, whose data count after a failover, and what clients see of it."""

from collections import deque

import pytest

from relay.redis_client.client import Script
from relay.redis_client.reply_to_dict import info
from simulator.redis import Server
from simulator.redis.replication import Step
from tests.simulator.redis.dialogue import Client, Clock, new_server, refusal


class Delay:
    """Replication that waits until a test lets it go on."""

    def __init__(self) -> None:
        self._steps: deque[Step] = deque()

    def __call__(self, step: Step) -> None:
        self._steps.append(step)

    def pass_by(self) -> None:
        """Let everything happen that was put off."""
        while self._steps:
            self._steps.popleft()()


@pytest.fixture
def delay() -> Delay:
    return Delay()


@pytest.fixture
def replica(clock: Clock, server: Server, delay: Delay) -> Server:
    replica = new_server(clock, 2, 6380)
    replica.replication.later = delay
    replica.replication.follow(server)
    delay.pass_by()
    return replica


def about(server: Server) -> dict[str, object]:
    return info(Client(server).ask("INFO", "replication"))


def test_a_replica_has_what_was_there_before(client: Client, server: Server, clock: Clock) -> None:
    client.ask("HSET", "h", "f", "v")
    client.ask("PEXPIRE", "h", 1000)
    replica = new_server(clock, 2, 6380)
    replica.replication.follow(server)
    assert Client(replica).ask("HGETALL", "h") == [b"f", b"v"]
    assert Client(replica).ask("PTTL", "h") == 1000


def test_a_replica_is_behind_until_it_has_applied_what_was_sent(client: Client, replica: Server, delay: Delay) -> None:
    reader = Client(replica)
    client.ask("EVAL", "redis.call('SET', KEYS[1], 1) redis.call('SET', KEYS[1], 2, 'PX', 5000)", 1, "a")
    assert reader.ask("GET", "a") is None
    delay.pass_by()
    assert reader.ask("GET", "a") == b"2"
    assert reader.ask("PTTL", "a") == 5000


def test_all_changes_reach_a_replica(client: Client, replica: Server, delay: Delay) -> None:
    for words in (
        ("SET", "a", "1"), ("SET", "b", "1"), ("DEL", "a"), ("HSET", "h", "f", "1", "g", "2"), ("HDEL", "h", "f"),
        ("PEXPIRE", "h", 5000), ("SET", "c", "x", "PX", 9), ("PERSIST", "c"), ("SELECT", 3), ("SET", "other", "1"),
    ):  # fmt: skip
        client.ask(*words)
    delay.pass_by()
    reader = Client(replica)
    assert reader.ask("KEYS", "*") == [b"b", b"h", b"c"]
    assert reader.ask("HGETALL", "h") == [b"g", b"2"]
    assert [reader.ask("PTTL", key) for key in "bhc"] == [-1, 5000, -1]
    reader.ask("SELECT", 3)
    assert reader.ask("GET", "other") == b"1"
    client.ask("FLUSHALL")
    delay.pass_by()
    assert reader.ask("DBSIZE") == 0


def test_a_replica_refuses_writes_and_serves_the_rest(replica: Server) -> None:
    reader = Client(replica)
    assert refusal(reader.ask("SET", "a", "b")).startswith("READONLY ")
    assert refusal(reader.ask("EVAL", "return redis.call('SET', 'a', 1)", 0)).startswith("READONLY ")
    assert refusal(reader.ask("EVAL", Script("take").text, 1, "lease", 1, 2, 3)).startswith("READONLY ")
    assert reader.ask("GET", "a") is None
    assert reader.ask("ROLE")[0] == b"slave"
    assert about(replica)["master_link_status"] == "up"


def test_a_replica_without_its_primary_may_serve_nothing(server: Server, replica: Server) -> None:
    reader = Client(replica)
    reader.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
    assert reader.ask("GET", "a") is None
    server.kill()
    assert refusal(reader.ask("GET", "a")).startswith("MASTERDOWN ")
    assert about(replica)["master_link_status"] == "down"


def test_messages_reach_the_subscribers_of_a_replica_later(client: Client, replica: Server, delay: Delay) -> None:
    subscriber = Client(replica)
    subscriber.ask("SUBSCRIBE", "a")
    assert client.ask("PUBLISH", "a", "x") == 0
    assert subscriber.heard() == []
    delay.pass_by()
    assert subscriber.heard() == [[b"message", b"a", b"x"]]


def test_expired_keys_stay_at_a_replica_until_it_is_told(
    client: Client, server: Server, replica: Server, delay: Delay, clock: Clock
) -> None:
    client.ask("SET", "a", "b", "PX", 100)
    delay.pass_by()
    clock.now += 1
    reader = Client(replica)
    assert reader.ask("GET", "a") is None
    assert b"a" in replica.databases[0].data
    server.tick()
    delay.pass_by()
    assert b"a" not in replica.databases[0].data


class TestPromotion:
    def test_a_write_that_was_under_way_to_the_promoted_replica_is_lost(
        self, client: Client, server: Server, replica: Server, delay: Delay
    ) -> None:
        client.ask("SET", "a", "old")
        delay.pass_by()
        client.ask("SET", "a", "new")
        server.kill()
        delay.pass_by()
        replica.replication.lead()
        assert Client(replica).ask("GET", "a") == b"old"
        assert Client(replica).ask("SET", "a", "newer") == b"OK"

    def test_the_scripts_see_another_server_with_the_same_history(
        self, client: Client, server: Server, replica: Server, delay: Delay
    ) -> None:
        client.ask("EVAL", Script("found").text, 1, "p", 1, 10_000)
        delay.pass_by()
        history = about(server)["master_replid"]
        replica.replication.lead()
        assert about(replica)["master_replid2"] == history
        made, epoch, _ = Client(replica).ask("EVAL", Script("found").text, 1, "p", 0, 10_000)
        assert made == 1
        assert epoch.split()[1] == f"{replica.run_id}/{history}".encode()

    def test_a_former_primary_that_had_everything_keeps_its_history(
        self, client: Client, server: Server, replica: Server, delay: Delay
    ) -> None:
        client.ask("SET", "a", "b")
        delay.pass_by()
        replica.replication.lead()
        before = about(server)["master_replid"]
        server.replication.follow(replica)
        assert about(server)["master_replid2"] == before
        assert about(server)["master_replid"] == about(replica)["master_replid"]

    def test_a_former_primary_that_went_on_alone_loses_what_it_wrote(
        self, client: Client, server: Server, replica: Server, delay: Delay
    ) -> None:
        client.ask("SET", "a", "b")
        delay.pass_by()
        replica.replication.lead()
        server.replication.former_id = b"f" * 40  # as after an earlier failover
        client.ask("SET", "a", "mine")
        server.replication.follow(replica)
        assert client.ask("GET", "a") == b"b"
        assert about(server)["master_replid2"] == 0

    def test_a_primary_that_comes_back_empty_empties_its_replica(
        self, client: Client, server: Server, replica: Server, delay: Delay
    ) -> None:
        client.ask("SET", "a", "b")
        delay.pass_by()
        server.kill()
        replica.tick()
        server.restart()
        assert Client(replica).ask("GET", "a") == b"b"
        replica.tick()
        delay.pass_by()
        assert Client(replica).ask("GET", "a") is None

    def test_a_snapshot_remembers_the_history_of_a_server_with_replicas(self, server: Server, replica: Server) -> None:
        history = about(server)["master_replid"]
        snapshot = server.snapshot()
        server.kill()
        server.restart(snapshot)
        assert about(server)["master_replid2"] == history
        assert about(server)["master_replid"] != history


def test_replicas_of_replicas_hear_everything(clock: Clock, server: Server, client: Client) -> None:
    first, second = new_server(clock, 2, 6380), new_server(clock, 3, 6381)
    first.replication.follow(server)
    second.replication.follow(first)
    client.ask("SET", "a", "b")
    assert Client(second).ask("GET", "a") == b"b"
    late = new_server(clock, 4, 6382)
    late.replication.follow(second)
    offsets = {about(each)["master_repl_offset"] for each in (server, first, second, late)}
    assert len(offsets) == 1
    assert offsets != {0}
