"""Each transition of a name, on a real server: a table of the states before and after."""

from pathlib import Path

import pytest
import redis

import relay.directory.directory
from relay.redis_client.client import Script
from relay.tools.testbed.process import HOST
from tests.relay.directory.conftest import OTHER, Run, ttl
from tests.support.rows import each_row
from tests.support.server import RedisServer

# `server` is put before each of the other scripts.
SCRIPTS = {file.stem for file in Path(relay.directory.directory.__file__).parent.glob("scripts/*.lua")} - {"server"}
TTL = 600_000  # milliseconds
OLD_TTL = 300_000  # milliseconds, of existing partitions
SETTLE = 5_000_000  # microseconds for which a partition that lost data grants nothing to others
FIELD = "f" * 32
TAIL = 100_000  # milliseconds; see test_lease_scripts.py


@pytest.fixture
def now(redis_store: redis.Redis) -> int:
    """Return the server's time in microseconds."""
    seconds, micro = redis_store.time()
    return int(seconds) * 1_000_000 + int(micro)


@pytest.fixture
def old(redis_store: redis.Redis, key: str) -> None:
    """Make a partition that exists since long ago."""
    put(redis_store, key, {"@": "0"})


def put(redis_store: redis.Redis, key: str, fields: dict[str, str]) -> None:
    """Write these fields, as if they had always been there."""
    redis_store.hset(key, mapping=fields)  # type: ignore[arg-type]
    redis_store.pexpire(key, OLD_TTL)


def record(redis_store: redis.Redis, key: str) -> str | None:
    """Return the content of the name's field."""
    found = redis_store.hget(key, FIELD)
    assert found is None or isinstance(found, str)
    return found


def epoch(redis_store: redis.Redis, key: str) -> int:
    """Return the epoch of the partition."""
    found = redis_store.hget(key, "@")
    assert isinstance(found, str)
    return int(found.split()[0])


@pytest.fixture
def others(redis_store: redis.Redis, key: str) -> None:
    """Make a partition that exists since long ago on another server, of which this one has a copy."""
    put(redis_store, key, {"@": f"0 {OTHER}"})


class TestClaim:
    def claim(self, run: Run, owner: str = "n1/1/s1", body: str = "{}", floor: int = 0, seen: str = "") -> list[str]:
        answer: list[str] = run("claim", FIELD, owner, body, floor, seen, SETTLE, TTL)
        return answer

    @pytest.mark.usefixtures("old")
    def test_a_free_name_is_granted_with_a_fence_of_now(
        self, run: Run, redis_store: redis.Redis, key: str, now: int
    ) -> None:
        word, fencing_token = self.claim(run, body='{"a b":1}')
        assert word == "ok"
        assert 0 <= int(fencing_token) - now < 5_000_000
        assert record(redis_store, key) == f'{fencing_token} n1/1/s1 {{"a b":1}}'
        assert TTL - 5000 < ttl(redis_store, key) <= TTL

    @pytest.mark.usefixtures("old")
    def test_the_fence_is_higher_than_any_that_is_known_however_wrong_the_clock(self, run: Run, now: int) -> None:
        ahead = now + 10**12
        assert self.claim(run, floor=ahead) == ["ok", str(ahead + 1024)]

    @pytest.mark.usefixtures("old")
    def test_a_name_that_is_owned_is_taken(self, run: Run, redis_store: redis.Redis, key: str) -> None:
        put(redis_store, key, {FIELD: "7 n2/1/s9 [1]"})
        assert self.claim(run) == ["taken", "7 n2/1/s9 [1]"]
        assert record(redis_store, key) == "7 n2/1/s9 [1]"

    @pytest.mark.usefixtures("old")
    def test_a_claim_that_is_made_twice_is_made_once(self, run: Run) -> None:
        assert self.claim(run) == self.claim(run)

    @pytest.mark.usefixtures("old")
    def test_the_record_of_a_dead_owner_is_replaced_by_who_has_seen_it(
        self, run: Run, redis_store: redis.Redis, key: str, now: int
    ) -> None:
        put(redis_store, key, {FIELD: f"{now + 10**12} n2/1/s9 [1]"})
        assert self.claim(run, seen=f"{now + 10**12} n2/1/s9") == ["ok", str(now + 10**12 + 1024)]
        assert record(redis_store, key) == f"{now + 10**12 + 1024} n1/1/s1 {{}}"

    @pytest.mark.usefixtures("old")
    @pytest.mark.parametrize("seen", ["6 n2/1/s9", "7 n2/2/s9", "7 n2/1/s8", "7", "%d+ (%S+)"])
    def test_a_name_is_not_taken_over_if_its_owner_is_another_by_now(
        self, seen: str, run: Run, redis_store: redis.Redis, key: str
    ) -> None:
        put(redis_store, key, {FIELD: "7 n2/1/s9 [1]"})
        assert self.claim(run, seen=seen)[0] == "taken"

    @pytest.mark.usefixtures("old")
    def test_only_the_first_of_two_claims_that_saw_the_same_dead_owner_gets_the_name(
        self, run: Run, redis_store: redis.Redis, key: str
    ) -> None:
        put(redis_store, key, {FIELD: "7 n2/1/s9 [1]"})
        assert self.claim(run, seen="7 n2/1/s9")[0] == "ok"
        assert self.claim(run, "n3/1/s3", seen="7 n2/1/s9")[0] == "taken"

    def test_a_forgotten_partition_gets_an_epoch_and_grants_nothing(
        self, run: Run, redis_store: redis.Redis, key: str, now: int
    ) -> None:
        assert self.claim(run) == ["forgot"]
        assert 0 <= epoch(redis_store, key) - now < 5_000_000
        assert record(redis_store, key) is None
        assert TTL - 5000 < ttl(redis_store, key) <= TTL

    def test_a_partition_grants_nothing_until_its_owners_had_time_to_come_back(
        self, run: Run, redis_store: redis.Redis, key: str, now: int
    ) -> None:
        put(redis_store, key, {"@": str(now - 1_000_000)})
        word, left = self.claim(run)
        assert word == "wait"
        assert 0 < int(left) <= SETTLE - 1_000_000
        put(redis_store, key, {"@": str(now - SETTLE)})
        assert self.claim(run)[0] == "ok"

    def test_an_epoch_that_is_yet_to_come_is_an_old_one(
        self, run: Run, redis_store: redis.Redis, key: str, now: int
    ) -> None:
        """The server's clock was set back."""
        put(redis_store, key, {"@": str(now + 40_000_000)})
        assert run("find", FIELD, SETTLE, TTL) == ["none"]
        assert self.claim(run)[0] == "ok"
        assert run("find", FIELD, SETTLE, TTL)[0::2] == ["found", 1]
        assert epoch(redis_store, key) == now + 40_000_000

    def test_a_name_that_is_there_is_taken_meanwhile(
        self, run: Run, redis_store: redis.Redis, key: str, now: int
    ) -> None:
        put(redis_store, key, {"@": str(now), FIELD: "7 n2/1/s9 [1]"})
        assert self.claim(run)[0] == "taken"

    @pytest.mark.usefixtures("others")
    @pytest.mark.parametrize("seen", ["", "7 n2/1/s9"])
    def test_a_record_that_another_server_knew_may_be_missing_here(
        self, seen: str, run: Run, redis_store: redis.Redis, key: str, now: int
    ) -> None:
        put(redis_store, key, {FIELD: "7 n2/1/s9 [1]"})
        assert self.claim(run, seen=seen) == ["forgot"]
        assert epoch(redis_store, key) >= now
        assert self.claim(run, seen=seen)[0] == ("wait" if seen else "taken")
        assert record(redis_store, key) == "7 n2/1/s9 [1]"

    def test_a_token_needs_not_wait_for_the_owners(
        self, run: Run, redis_store: redis.Redis, key: str, now: int
    ) -> None:
        put(redis_store, key, {"@": str(now), FIELD: "7 n2/1/s9 [1]"})
        assert run("claim", FIELD, "n1/1/s1", "{}", 0, "7 n2/1/s9", 0, TTL)[0] == "ok"

    @pytest.mark.parametrize("history", ["", "/" + 40 * "a"], ids=["", "a history that it has dropped since"])
    def test_the_same_server_s_epoch_counts(
        self, history: str, run: Run, redis_store: redis.Redis, key: str, here: str
    ) -> None:
        put(redis_store, key, {"@": f"0 {here}{history}"})
        assert self.claim(run)[0] == "ok"
        assert redis_store.hget(key, "@") == f"0 {here}{history}"


class TestFind:
    def find(self, run: Run) -> list[str]:
        answer: list[str] = run("find", FIELD, SETTLE, TTL)
        return answer

    @pytest.mark.usefixtures("old")
    def test_a_record_is_found(self, run: Run, redis_store: redis.Redis, key: str) -> None:
        put(redis_store, key, {FIELD: "7 n2/1/s9 [1]"})
        assert self.find(run) == ["found", "7 n2/1/s9 [1]", 1]

    @pytest.mark.usefixtures("old")
    def test_absence_means_something_where_the_partition_remembers(self, run: Run) -> None:
        assert self.find(run) == ["none"]

    def test_absence_means_nothing_yet_where_the_partition_forgot(
        self, run: Run, redis_store: redis.Redis, key: str, now: int
    ) -> None:
        assert self.find(run) == ["forgot"]
        assert self.find(run) == ["wait"]
        assert epoch(redis_store, key) >= now
        assert 0 < ttl(redis_store, key) <= TTL
        put(redis_store, key, {"@": str(now - SETTLE)})
        assert self.find(run) == ["none"]

    @pytest.mark.usefixtures("others")
    def test_absence_means_nothing_where_another_server_wrote_what_is_there(
        self, run: Run, redis_store: redis.Redis, key: str
    ) -> None:
        put(redis_store, key, {FIELD: "7 n2/1/s9 [1]"})
        assert self.find(run) == ["forgot"]
        assert self.find(run) == ["found", "7 n2/1/s9 [1]", 0]


class TestSave:
    def save(
        self,
        run: Run,
        node_id: str = "n1",
        incarnation: int = 1,
        session_id: str = "s1",
        body: str = "{}",
        fencing_token: int = 7,
    ) -> list[str]:
        answer: list[str] = run("save", FIELD, node_id, incarnation, session_id, body, fencing_token, TTL)
        return answer

    @pytest.mark.usefixtures("old")
    def test_the_owner_writes_its_record_under_the_same_fence(
        self, run: Run, redis_store: redis.Redis, key: str
    ) -> None:
        put(redis_store, key, {FIELD: "7 n1/1/s1 [old]"})
        assert self.save(run, body="[new one]") == ["ok", "7"]
        assert record(redis_store, key) == "7 n1/1/s1 [new one]"
        assert TTL - 5000 < ttl(redis_store, key) <= TTL

    @pytest.mark.usefixtures("old")
    @pytest.mark.parametrize("owner", ["n2/1/s1", "n1/1/s2", "n2/1/s2", "n1x/1/s1", "n1/1/s1x"])
    def test_nobody_else_writes_the_record(self, owner: str, run: Run, redis_store: redis.Redis, key: str) -> None:
        put(redis_store, key, {FIELD: f"7 {owner} [theirs]"})
        assert self.save(run) == ["lost"]
        assert record(redis_store, key) == f"7 {owner} [theirs]"

    @pytest.mark.usefixtures("old")
    def test_a_new_incarnation_raises_the_fence(self, run: Run, redis_store: redis.Redis, key: str) -> None:
        put(redis_store, key, {FIELD: "7 n1/1/s1 [old]"})
        assert self.save(run, incarnation=2) == ["ok", "8"]
        assert record(redis_store, key) == "8 n1/2/s1 {}"

    @pytest.mark.usefixtures("old")
    @pytest.mark.parametrize(("there", "known"), [(10**12, 7), (7, 10**12)])
    def test_the_new_fence_is_above_what_is_there_and_what_is_known(
        self, there: int, known: int, run: Run, redis_store: redis.Redis, key: str, now: int
    ) -> None:
        put(redis_store, key, {FIELD: f"{now + there} n1/1/s1 [old]"})
        assert self.save(run, incarnation=2, fencing_token=now + known) == ["ok", str(now + 10**12 + 1)]

    def test_a_record_that_was_forgotten_is_put_back_with_a_higher_fence_and_an_epoch(
        self, run: Run, redis_store: redis.Redis, key: str, now: int
    ) -> None:
        assert self.save(run, fencing_token=now + 10**12) == ["forgot", str(now + 10**12 + 1)]
        assert record(redis_store, key) == f"{now + 10**12 + 1} n1/1/s1 {{}}"
        assert 0 <= epoch(redis_store, key) - now < 5_000_000
        assert TTL - 5000 < ttl(redis_store, key) <= TTL

    def test_a_session_that_had_moved_on_unheard_stays_below_the_one_that_it_became(
        self, run: Run, redis_store: redis.Redis, key: str
    ) -> None:
        """Redis lost its data, and the stale session is the first to write itself back."""
        assert self.save(run, fencing_token=7, node_id="n1", session_id="s1") == ["forgot", "8"]
        assert self.save(run, fencing_token=9, node_id="n2", session_id="s2")[0] == "forgot"
        assert self.save(run, fencing_token=8, node_id="n1", session_id="s1") == ["lost"]
        assert record(redis_store, key) == "9 n2/1/s2 {}"

    @pytest.mark.usefixtures("old")
    def test_the_owner_is_right_also_where_an_older_server_remembers_a_stale_one(
        self, run: Run, redis_store: redis.Redis, key: str
    ) -> None:
        put(redis_store, key, {FIELD: "7 n1/1/s1 [stale]"})
        assert self.save(run, incarnation=2) == ["ok", "8"]
        assert self.save(run, fencing_token=9, node_id="n2", session_id="s2") == ["forgot", "9"]
        assert record(redis_store, key) == "9 n2/1/s2 {}"

    def test_an_epoch_that_is_there_stays(self, run: Run, redis_store: redis.Redis, key: str) -> None:
        put(redis_store, key, {"@": "5"})
        self.save(run)
        assert redis_store.hget(key, "@") == "5"

    @pytest.mark.usefixtures("others")
    def test_a_record_that_is_missing_on_another_server_is_put_back_and_the_others_are_asked_for(
        self, run: Run, redis_store: redis.Redis, key: str, now: int
    ) -> None:
        word, fencing_token = self.save(run)
        assert (word, fencing_token) == ("forgot", "8")
        assert epoch(redis_store, key) >= now
        assert self.save(run, fencing_token=int(fencing_token)) == ["ok", fencing_token]

    @pytest.mark.usefixtures("old")
    def test_an_owner_of_before_is_overwritten(self, run: Run, redis_store: redis.Redis, key: str) -> None:
        """It can only have come back with an older server, because a later owner has a higher fencing token."""
        put(redis_store, key, {FIELD: "6 n2/1/s9 [theirs]"})
        assert self.save(run) == ["forgot", "7"]
        assert record(redis_store, key) == "7 n1/1/s1 {}"


class TestFound:
    def found(self, run: Run, empty: int) -> tuple[int, str]:
        made, epoch, _ = run("found", empty, TTL)
        return made, epoch

    def test_a_partition_without_owners_need_not_be_waited_for(
        self, run: Run, redis_store: redis.Redis, key: str
    ) -> None:
        assert self.found(run, 1)[0] == 1
        assert epoch(redis_store, key) == 0
        assert 0 < ttl(redis_store, key) <= TTL

    def test_a_partition_whose_users_live_is_waited_for(
        self, run: Run, redis_store: redis.Redis, key: str, now: int
    ) -> None:
        assert self.found(run, 0)[0] == 1
        assert epoch(redis_store, key) >= now

    @pytest.mark.usefixtures("others")
    def test_a_partition_that_another_server_remembered_is_founded_too(
        self, run: Run, redis_store: redis.Redis, key: str, now: int
    ) -> None:
        assert self.found(run, 0) == (1, redis_store.hget(key, "@"))
        assert epoch(redis_store, key) >= now

    def test_a_partition_that_is_there_stays(self, run: Run, redis_store: redis.Redis, key: str) -> None:
        put(redis_store, key, {"@": "5"})
        assert self.found(run, 1) == (0, "5")
        assert redis_store.hget(key, "@") == "5"


class TestRelease:
    def release(self, run: Run, node_id: str = "n1", session_id: str = "s1") -> int:
        answer: int = run("release", FIELD, node_id, session_id)
        return answer

    @pytest.mark.parametrize("incarnation", [1, 2])
    def test_the_owner_gives_its_name_back_whatever_its_incarnation_was(
        self, incarnation: int, run: Run, redis_store: redis.Redis, key: str
    ) -> None:
        put(redis_store, key, {FIELD: f"7 n1/{incarnation}/s1 [x]"})
        assert self.release(run) == 1
        assert record(redis_store, key) is None

    @pytest.mark.parametrize("owner", ["n2/1/s1", "n1/1/s2", "n1x/1/s1", "n1/1/s1x"])
    def test_nobody_else_gives_a_name_back(self, owner: str, run: Run, redis_store: redis.Redis, key: str) -> None:
        put(redis_store, key, {FIELD: f"7 {owner} [x]"})
        assert self.release(run) == 0
        assert record(redis_store, key) == f"7 {owner} [x]"

    def test_a_name_that_is_nobody_s_stays_so(self, run: Run) -> None:
        assert self.release(run) == 0

    def test_the_epoch_stays(self, run: Run, redis_store: redis.Redis, key: str) -> None:
        put(redis_store, key, {"@": "5", FIELD: "7 n1/1/s1 [x]"})
        self.release(run)
        assert redis_store.hgetall(key) == {"@": "5"}


class TestWhoTheServerIs:
    def test_a_user_who_may_not_ask_is_told_nothing_and_everything_else_works(
        self, redis_store: redis.Redis, redis_server: RedisServer, key: str, prefix: str
    ) -> None:
        redis_store.acl_setuser(
            prefix, enabled=True, nopass=True, categories=["+@all"], commands=["-info"], keys=["*"], reset=True
        )
        user = redis.Redis(host=HOST, port=redis_server.port, username=prefix, password="", decode_responses=True)
        try:
            assert user.eval(Script("take").text.decode(), 1, f"{prefix}:lease", 1, 5000, TAIL) == ""
            put(redis_store, key, {"@": f"0 {OTHER}"})
            assert (
                user.eval(Script("claim").text.decode(), 1, key, FIELD, "n1/1/s1", "{}", 0, "", SETTLE, TTL)[0] == "ok"
            )
        finally:
            user.close()
            redis_store.acl_deluser(prefix)


@each_row("name", sorted(SCRIPTS))
def test_each_script_touches_one_key_and_says_what_it_takes(name: str) -> None:
    text = Script(name).text.decode()
    header = [line for line in text.splitlines() if line.startswith("--")]
    assert any("KEYS[1]" in line for line in header)
    assert any("ARGV[1]" in line for line in header) or "ARGV" not in text
    assert any("Result" in line for line in header)
    assert "KEYS[2]" not in text
