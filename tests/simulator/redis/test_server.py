"""What happens to a server of the model, and what its clients see of it."""

from typing import Any

import pytest

from relay.redis_client.client import Script
from relay.redis_client.dialing import pack
from simulator.redis import Server
from tests.simulator.redis.dialogue import NOW, Client, Clock, refusal

PIPELINE = b"".join(map(pack, [("SET", "a", "b\r\n$1"), ("GET", "a"), ("HSET", "h", "f", "v"), ("HGET", "h", "f")]))
ANSWERS = b"+OK\r\n$5\r\nb\r\n$1\r\n:1\r\n$1\r\nv\r\n"


def run(client: Client, name: str, key: str, *words: str | int) -> Any:
    """Run a script of the directory as the relay does."""
    script = Script(name)
    reply = client.ask("EVALSHA", script.sha, 1, key, *words)
    if isinstance(reply, Exception) and str(reply).startswith("NOSCRIPT"):
        reply = client.ask("EVAL", script.text, 1, key, *words)
    return reply


@pytest.mark.parametrize("place", range(len(PIPELINE) + 1))
def test_a_pipeline_may_be_cut_anywhere(place: int, client: Client) -> None:
    client.connection.feed(PIPELINE[:place])
    client.connection.feed(PIPELINE[place:])
    assert client.raw == ANSWERS


def test_a_pipeline_may_come_byte_by_byte(client: Client) -> None:
    for byte in PIPELINE:
        client.connection.feed(bytes([byte]))
    assert client.raw == ANSWERS


def test_a_lease_lapses_by_the_clock_of_the_server(client: Client, server: Server, clock: Clock) -> None:
    assert run(client, "take", "lease", 1, 5000, 100_000) == server.run_id.encode()
    assert run(client, "renew", "lease", 1, 5000, 100_000) == [1]
    clock.now += 5.001
    assert run(client, "renew", "lease", 1, 5000, 100_000) == [0]
    assert run(client, "look", "lease") == [99_999, 5000, b"%d" % round(clock.now * 1e6)]
    clock.now += 100
    assert client.ask("GET", "lease") is None


def test_time_stands_still_in_a_script(client: Client, clock: Clock) -> None:
    clock.now = NOW
    ticking = iter(range(1000))
    client.connection.server.clock = lambda: clock.now + next(ticking)
    text = "local a, b = redis.call('TIME'), redis.call('TIME') return {a[1] - b[1], a[2] - b[2]}"
    assert client.ask("EVAL", text, 0) == [0, 0]


def test_a_key_that_has_expired_stays_so_when_the_clock_is_set_back(
    client: Client, server: Server, clock: Clock
) -> None:
    client.ask("SET", "a", "b", "PX", 1000)
    clock.now += 2
    server.tick()
    clock.now -= 2
    assert client.ask("GET", "a") is None


class TestFaults:
    def test_a_server_killed_without_its_data_comes_back_empty(self, client: Client, server: Server) -> None:
        run(client, "take", "lease", 1, 5000, 100_000)
        before = server.run_id
        server.kill()
        assert client.closed
        with pytest.raises(ConnectionRefusedError):
            Client(server)
        server.restart()
        assert server.run_id != before
        again = Client(server)
        assert again.ask("DBSIZE") == 0
        assert refusal(again.ask("EVALSHA", Script("take").sha, 1, "lease", 2, 5000, 100_000)).startswith("NOSCRIPT")

    def test_a_server_restarts_from_a_snapshot(self, client: Client, server: Server) -> None:
        client.ask("HSET", "h", "f", "old")
        snapshot = server.snapshot()
        client.ask("HSET", "h", "f", "new", "g", "new")
        server.kill()
        server.restart(snapshot)
        again = Client(server)
        assert again.ask("HGETALL", "h") == [b"f", b"old"]
        again.ask("HSET", "h", "f", "newer")
        server.kill()
        server.restart(snapshot)
        assert Client(server).ask("HGET", "h", "f") == b"old"

    def test_an_answer_lost_after_the_command_was_carried_out(self, client: Client, server: Server) -> None:
        server.lose_answer(lambda words: words[0] == b"SET")
        assert client.ask("GET", "a") is None
        client.say("SET", "a", "b")
        assert client.closed
        assert client.raw == b""
        assert Client(server).ask("GET", "a") == b"b"

    def test_a_frozen_server_takes_bytes_and_answers_later(self, client: Client, server: Server) -> None:
        server.freeze()
        client.say("PING")
        late = Client(server)
        late.say("PING")
        assert client.raw == late.raw == b""
        server.thaw()
        assert client.raw == late.raw == b"+PONG\r\n"

    def test_a_paused_server_answers_later(self, client: Client, server: Server, clock: Clock) -> None:
        server.pause(1.0)
        client.connection.feed(PIPELINE)
        assert client.raw == b""
        clock.now += 1.1
        server.tick()
        assert client.raw == ANSWERS

    def test_a_server_paused_for_writes_answers_reads(self, client: Client, server: Server) -> None:
        other = Client(server)
        server.pause(1.0, writes_only=True)
        client.connection.feed(PIPELINE)
        assert other.ask("GET", "a") is None
        assert client.raw == b""
        server.resume()
        assert client.raw == ANSWERS

    def test_without_memory_a_lease_is_renewed_and_no_name_granted(self, client: Client, server: Server) -> None:
        run(client, "take", "lease", 1, 5000, 100_000)
        client.ask("HSET", "partition", "@", "0")
        server.fill_memory(True)
        result, why = run(client, "renew", "lease", 1, 5000, 100_000)
        assert result == 1
        assert why.startswith(b"OOM ")
        answer = run(client, "claim", "partition", "f", "n/1/s", "{}", 0, "", 0, 1000)
        assert refusal(answer).startswith("OOM ")
        server.fill_memory(False)
        assert run(client, "claim", "partition", "f", "n/1/s", "{}", 0, "", 0, 1000)[0] == b"ok"

    def test_a_server_that_refuses_info_is_nobody(self, client: Client, server: Server) -> None:
        server.deny("info")
        assert run(client, "take", "lease", 1, 5000, 100_000) == b""
        assert refusal(client.ask("INFO")).startswith("NOPERM ")
        server.deny()
        assert client.ask("INFO", "server").startswith(b"# Server")

    def test_evicted_keys_are_gone(self, client: Client, server: Server) -> None:
        client.ask("SET", "a", "b")
        server.evict([b"a"])
        assert client.ask("EXISTS", "a") == 0

    def test_a_server_that_loads_says_so(self, client: Client, server: Server) -> None:
        server.set_loading(True)
        assert refusal(client.ask("GET", "a")).startswith("LOADING ")
        assert client.ask("INFO", "persistence").strip().endswith(b"loading:1")
        server.set_loading(False)
        assert client.ask("GET", "a") is None


class TestSubscribers:
    def test_a_subscriber_that_takes_nothing_is_cut_off_at_the_hard_limit(self, client: Client, server: Server) -> None:
        subscriber, other = Client(server), Client(server)
        subscriber.ask("SUBSCRIBE", "a")
        other.ask("SUBSCRIBE", "a")
        client.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1000 0 0")
        assert client.ask("PUBLISH", "a", "x") == 2
        subscriber.unsent = 1000
        assert client.ask("PUBLISH", "a", "x") == 2
        assert subscriber.closed
        assert not other.closed
        assert client.ask("PUBLISH", "a", "x") == 1

    def test_a_subscriber_that_is_too_slow_for_too_long_is_cut_off(
        self, client: Client, server: Server, clock: Clock
    ) -> None:
        subscriber = Client(server)
        subscriber.ask("SUBSCRIBE", "a")
        client.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 1000 5")
        subscriber.unsent = 1000
        client.ask("PUBLISH", "a", "x")
        clock.now += 4
        client.ask("PUBLISH", "a", "x")
        assert not subscriber.closed
        clock.now += 2
        client.ask("PUBLISH", "a", "x")
        assert subscriber.closed

    def test_all_can_be_ended_at_once(self, client: Client, server: Server) -> None:
        subscriber = Client(server)
        subscriber.ask("SUBSCRIBE", "a")
        assert client.ask("CLIENT", "KILL", "TYPE", "pubsub") == 1
        assert subscriber.closed
        assert client.ask("PUBSUB", "NUMSUB", "a") == [b"a", 0]

    def test_skipped_replies_are_those_of_one_command(self, client: Client, server: Server) -> None:
        """As the relay publishes: the reply to one command stands for those before it, too."""
        skip, publish = pack(("CLIENT", "REPLY", "SKIP")), pack(("PUBLISH", "a", "x"))
        subscriber = Client(server)
        subscriber.ask("SUBSCRIBE", "a")
        client.connection.feed(skip + publish + skip + publish + publish)
        assert client.heard() == [1]
        assert subscriber.heard() == [[b"message", b"a", b"x"]] * 3
