"""All partitions of a server that lost data begin anew together, and a change of a server's clock is noticed."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import redis
from structlog.testing import capture_logs

from relay.clock import clock
from relay.directory.data_loss import DataLossWatch
from relay.directory.lease import TAIL_SECONDS, Lease
from relay.directory.node_liveness import NodeLiveness
from relay.redis_client.client import RedisClient
from relay.redis_client.keys import PARTITIONS, Keys
from relay.redis_client.pipeline import PipelineConnection
from tests.support.server import RedisServer

pytestmark = pytest.mark.anyio

US, THEM = "a" * 16, "b" * 16
LEASE = 0.5  # seconds
STEP = 40.0  # seconds by which a clock is set


class Told:
    """Records the calls of the directory to its node."""

    def __init__(self) -> None:
        self.forgotten: set[int] = set()
        self.put_back: set[int] = set()

    def forget(self, *partitions: int) -> None:
        self.forgotten.update(partitions)

    def write_back(self, *partitions: int) -> None:
        self.put_back.update(partitions)

    # private: whether a server was late shows only there
    async def check(self, shards: DataLossWatch) -> None:
        """Check once, or again if the server didn't answer in time on a busy machine."""
        self.forgotten, self.put_back = set(), set()
        failures = shards._redis_client._counts.redis_failures
        await shards.check_servers(self.forget, self.write_back)
        while (
            any(shard.doubted for shard in shards._shards.values())
            or shards._redis_client._counts.redis_failures > failures
        ):
            failures = shards._redis_client._counts.redis_failures
            await shards.check_servers(self.forget, self.write_back)


class Desk:
    """Two nodes that check the same partitions."""

    def __init__(self, redis_client: RedisClient, prefix: str, client: redis.Redis) -> None:
        self.redis_client, self.keys, self.client = redis_client, Keys(prefix), client
        self.lease = Lease(redis_client, self.keys, US, LEASE)
        self.data_loss = DataLossWatch(redis_client, self.keys, self.lease)
        self.others = DataLossWatch(redis_client, self.keys, self.lease)
        self.told, self.others_told = Told(), Told()

    def partitions(self) -> list[str]:
        return [self.keys.partition(number) for number in range(PARTITIONS)]

    def epochs(self) -> list[str | None]:
        with self.client.pipeline(transaction=False) as pipeline:
            for key in self.partitions():
                pipeline.hget(key, "@")
            return pipeline.execute()


@asynccontextmanager
async def a_desk(server: RedisServer, prefix: str, client: redis.Redis) -> AsyncIterator[Desk]:
    redis_client = RedisClient(server.url)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(redis_client.run)
        yield Desk(redis_client, prefix, client)
        tasks.cancel_scope.cancel()
    await redis_client.aclose()


@pytest.fixture
async def desk(redis_server: RedisServer, prefix: str, redis_store: redis.Redis) -> AsyncIterator[Desk]:
    async with a_desk(redis_server, prefix, redis_store) as desk:
        await desk.told.check(desk.data_loss)
        await desk.others_told.check(desk.others)
        yield desk


def trust(desk: Desk) -> None:
    """The server has served for a lease."""
    desk.data_loss._shards[""].unsure = float("-inf")  # private: else a lease would have to be waited for


async def test_a_first_look_makes_what_is_not_there_and_calls_for_its_owners(desk: Desk) -> None:
    assert desk.told.forgotten == set(range(PARTITIONS))
    assert desk.others_told.forgotten == set(), "they were quicker"
    assert None not in desk.epochs()


async def test_a_look_at_a_server_that_remembers_tells_nothing_and_asks_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    ask = PipelineConnection.ask

    async def counted(self: PipelineConnection, commands: Any) -> Any:
        asked.extend(commands)
        return await ask(self, commands)

    monkeypatch.setattr(PipelineConnection, "ask", counted)
    await desk.told.check(desk.data_loss)
    assert (desk.told.forgotten, desk.told.put_back) == (set(), set())
    assert len(asked) == 1


async def test_all_partitions_of_a_server_that_forgot_begin_in_one_check(desk: Desk) -> None:
    before = desk.epochs()
    desk.client.delete(*desk.partitions())
    await desk.told.check(desk.data_loss)
    assert desk.told.forgotten == set(range(PARTITIONS))
    after = desk.epochs()
    assert not set(before) & set(after)
    times = [int(str(epoch).split()[0]) for epoch in after]
    assert max(times) - min(times) < 5_000_000


async def test_a_node_that_was_not_the_first_to_notice_writes_back_too(desk: Desk) -> None:
    """A node that misses the roll call, because pub/sub was lost with the server, finds the new epoch."""
    desk.client.delete(*desk.partitions())
    await desk.told.check(desk.data_loss)
    await desk.others_told.check(desk.others)
    assert desk.others_told.forgotten == set()
    assert desk.others_told.put_back == set(range(PARTITIONS))
    await desk.others_told.check(desk.others)
    assert desk.others_told.put_back == set(), "once"


async def test_a_partition_that_somebody_touched_first_is_no_reason_to_leave_the_others(desk: Desk) -> None:
    desk.client.delete(*desk.partitions())
    desk.client.hset(desk.keys.partition(0), "@", "1")  # a claim made it
    await desk.told.check(desk.data_loss)
    assert desk.told.forgotten == set(range(1, PARTITIONS))
    assert desk.told.put_back == {0}
    desk.client.pexpire(desk.keys.partition(0), 1000)


async def test_partitions_that_were_evicted_are_found_though_nobody_asks(desk: Desk) -> None:
    """Each check looks at another partition. The first missing one leads to a check of all."""
    gone = {5, 500, 1000}
    desk.client.delete(*map(desk.keys.partition, gone))
    desk.data_loss._turn = 499  # private: else 499 turns would have to be waited for
    await desk.told.check(desk.data_loss)
    assert desk.told.forgotten == set()
    await desk.told.check(desk.data_loss)
    assert desk.told.forgotten == gone


async def test_a_partition_that_moved_to_another_server_is_looked_at(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(desk)
    moved = {desk.keys.partition(number): number for number in (7, 8, 900)}
    monkeypatch.setattr(desk.redis_client, "home", lambda key: "other" if key in moved else "")
    # private: there is only one server here
    monkeypatch.setattr(desk.redis_client._engine, "version", desk.redis_client.layout + 1)
    desk.client.delete(desk.keys.partition(8))  # existing partitions name another server, as the missing ones would
    await desk.told.check(desk.data_loss)
    assert desk.told.forgotten == {8}
    await desk.others_told.check(desk.others)
    assert desk.others_told.put_back == {8}, "also where others were quicker"
    assert not desk.data_loss.steady(desk.keys.partition(7)), "a server that is new has not served for a lease"
    assert desk.data_loss.steady(desk.keys.partition(1))


# --- clocks


@pytest.fixture
def lease_key(desk: Desk) -> Iterator[str]:
    key = desk.keys.lease(THEM)
    yield key
    desk.client.delete(key)


async def settled(desk: Desk) -> NodeLiveness:
    """Have our own lease held for long enough to declare other nodes dead."""
    await desk.lease.take()
    desk.lease._since = float("-inf")  # private: else a lease would have to be waited for
    desk.lease.deadline = float("inf")
    return NodeLiveness(desk.redis_client, desk.keys, desk.lease, desk.data_loss)


def time_of(desk: Desk) -> float:
    seconds, micro = desk.client.time()
    return int(seconds) + int(micro) / 1e6


async def test_nobody_is_dead_by_a_clock_that_was_set_forward(desk: Desk, lease_key: str) -> None:
    """Redis then counts every lease as lapsed. A living node notices at its next renewal, and takes a new one."""
    node_liveness = await settled(desk)
    trust(desk)
    desk.client.set(lease_key, "1", px=round((TAIL_SECONDS - STEP + LEASE) * 1000))
    began = clock()
    desk.data_loss.timed(lease_key, clock(), time_of(desk) - STEP)  # the time before the clock was set
    trust(desk)
    with capture_logs() as log:
        assert await node_liveness.lapsed(THEM) is None
    assert [(line["event"], line["seconds"]) for line in log] == [("the clock of redis was set", STEP)]
    trust(desk)  # a lease later it has still not renewed
    since = await node_liveness.lapsed(THEM)
    assert since is not None
    assert since <= clock() - began, "users of a dead node have their grace from then on"


async def test_a_clock_that_was_set_back_lets_no_dead_node_live_on(desk: Desk, lease_key: str) -> None:
    """Its last renewal seems to hold for longer, but the lease itself says for how long it was asked."""
    node_liveness = await settled(desk)
    trust(desk)
    desk.client.set(lease_key, f"1  {round(LEASE * 1000)}", px=round((TAIL_SECONDS + STEP + LEASE) * 1000))
    assert await node_liveness.lapsed(THEM) is None
    with anyio.fail_after(10):
        while await node_liveness.lapsed(THEM) is None:  # noqa: ASYNC110
            await anyio.sleep(LEASE / 10)


async def test_a_clock_that_was_set_back_is_noticed_and_one_that_is_inexact_is_none(desk: Desk) -> None:
    key, now = desk.keys.partition(1), time_of(desk)
    trust(desk)
    desk.data_loss._shards[""].clock = None  # private: as before the first look at the clock
    desk.data_loss.timed(key, clock(), now)
    desk.data_loss.timed(key, clock(), now + 0.05)
    assert desk.data_loss.steady(key)
    desk.data_loss.timed(key, clock(), now - STEP)
    assert not desk.data_loss.steady(key)
