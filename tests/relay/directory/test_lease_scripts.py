"""Each transition of a lease, on a real server."""

import redis

from relay.redis_client.client import Script
from tests.relay.directory.conftest import OTHER, Run, ttl
from tests.support.server import RedisServer

TAIL = 100_000  # milliseconds for which a lapsed lease is kept


class TestRenew:
    LEASE = 5000  # milliseconds

    def renew(self, run: Run, incarnation: int = 1) -> int:
        answer, *refusal = run("renew", incarnation, self.LEASE, TAIL)
        assert refusal == []
        return int(answer)

    def test_a_lease_that_holds_is_held_again_for_all_of_its_time(
        self, run: Run, redis_store: redis.Redis, key: str
    ) -> None:
        redis_store.set(key, 1, px=TAIL + 1000)
        assert self.renew(run) == 1
        assert TAIL + 1000 < ttl(redis_store, key) <= TAIL + self.LEASE

    def test_a_lease_that_has_lapsed_is_not_renewed_although_its_key_is_there(
        self, run: Run, redis_store: redis.Redis, key: str
    ) -> None:
        redis_store.set(key, 1, px=TAIL)
        assert self.renew(run) == 0
        assert ttl(redis_store, key) <= TAIL

    def test_the_lease_of_another_incarnation_is_not_renewed(
        self, run: Run, redis_store: redis.Redis, key: str
    ) -> None:
        redis_store.set(key, 2, px=TAIL + 1000)
        assert self.renew(run, incarnation=1) == 0
        assert ttl(redis_store, key) <= TAIL + 1000

    def test_a_lease_that_was_forgotten_is_not_renewed(self, run: Run, redis_store: redis.Redis, key: str) -> None:
        assert self.renew(run) == 0
        assert not redis_store.exists(key)

    def test_a_lease_that_another_server_knew_is_renewed_and_that_is_told_once(
        self, run: Run, redis_store: redis.Redis, key: str, here: str
    ) -> None:
        redis_store.set(key, f"1 {OTHER}", px=TAIL + 1000)
        assert self.renew(run) == 2
        assert redis_store.get(key) == f"1 {here} {self.LEASE}"
        assert TAIL + 1000 < ttl(redis_store, key) <= TAIL + self.LEASE
        assert self.renew(run) == 1

    def test_a_server_that_is_full_renews_a_lease_and_says_that_it_takes_nothing_new(
        self, run: Run, own_redis: RedisServer, key: str
    ) -> None:
        with own_redis.client() as client:
            client.set(key, 1, px=TAIL + 1000)
            client.config_set("maxmemory", 1)
            renew = Script("renew").text
            result, refusal = client.eval(renew, 1, key, 1, self.LEASE, TAIL)
            assert (result, refusal.split()[0]) == (1, "OOM")
            assert TAIL + 1000 < ttl(client, key) <= TAIL + self.LEASE
            client.config_set("maxmemory", 0)
            assert client.eval(renew, 1, key, 1, self.LEASE, TAIL) == [1]


class TestTakeAndLook:
    def test_a_lease_that_was_taken_is_looked_at_and_renewed(
        self, run: Run, redis_store: redis.Redis, key: str, here: str
    ) -> None:
        assert run("take", 3, 5000, TAIL) == here
        assert redis_store.get(key) == f"3 {here} 5000"
        left, length, now = run("look")
        assert TAIL < left <= TAIL + 5000
        assert length == 5000
        assert int(now) // 1_000_000 in range(int(redis_store.time()[0]) - 5, int(redis_store.time()[0]) + 1)
        assert run("renew", 3, 5000, TAIL) == [1]

    def test_a_lease_that_is_not_there_is_forgotten(self, run: Run) -> None:
        assert run("look")[0] == -2

    def test_a_lease_of_a_node_that_does_not_say_how_long_it_asks_for_has_no_length(
        self, run: Run, redis_store: redis.Redis, key: str, here: str
    ) -> None:
        """Nodes of an older version do that."""
        redis_store.set(key, f"1 {here}", px=TAIL + 1000)
        assert run("look")[1] == 0

    def test_a_lease_that_was_renewed_on_another_server_tells_nothing(
        self, run: Run, redis_store: redis.Redis, key: str
    ) -> None:
        redis_store.set(key, f"1 {OTHER}", px=TAIL - 1000)
        assert run("look")[0] == -2
