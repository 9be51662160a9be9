"""Dead nodes, recognised by their leases, and nodes that were only suspended."""

import anyio
import pytest
import redis

from relay.clock import clock
from relay.directory.data_loss import DataLossWatch
from relay.directory.lease import TAIL_SECONDS, Lease

# private: a promise that is old already can't be had from a server
from relay.directory.node_liveness import TIDY, NodeLiveness, _Promise
from relay.redis_client.client import RedisClient
from relay.redis_client.keys import Keys
from tests.relay.desk import until
from tests.support.server import RedisServer

pytestmark = pytest.mark.anyio

US, THEM = "a" * 16, "b" * 16
LEASE = 0.5  # seconds


async def nothing() -> None:
    pass


def them() -> set[str]:
    return {THEM}


def nobody() -> set[str]:
    return set()


async def test_a_node_that_slept_is_reported_lost_and_then_back(
    redis_server: RedisServer, redis_store: redis.Redis, prefix: str
) -> None:
    redis_client, keys = RedisClient(redis_server.url), Keys(prefix)
    lease = Lease(redis_client, keys, US, LEASE)
    told: list[str] = []
    lapsed, held = round(TAIL_SECONDS * 1000), round((TAIL_SECONDS + 60) * 1000)
    redis_store.set(keys.lease(THEM), "1", px=lapsed)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(redis_client.run)
        await lease.take()
        tasks.start_soon(lease.keep, nothing, lambda: None)
        tasks.start_soon(
            NodeLiveness(redis_client, keys, lease, DataLossWatch(redis_client, keys, lease)).watch,
            them,
            lambda node_id, _: told.append(f"lost {node_id}"),
            told.append,
        )
        await until(lambda: told)
        redis_store.set(keys.lease(THEM), "2", px=held)
        await until(lambda: len(told) > 1)
        tasks.cancel_scope.cancel()
    await redis_client.aclose()
    assert told == [f"lost {THEM}", THEM]


async def test_leases_that_cannot_be_looked_at_hold_up_no_other(
    redis_server: RedisServer, redis_store: redis.Redis, prefix: str
) -> None:
    """On a cluster one of the primaries may be silent."""
    redis_client, keys = RedisClient(redis_server.url), Keys(prefix)
    lease = Lease(redis_client, keys, US, LEASE)
    told: list[str] = []
    beyond = {f"{n:016}" for n in range(20)}
    for node_id in beyond:
        redis_store.lpush(keys.lease(node_id), "no lease")
        redis_store.expire(keys.lease(node_id), 60)
    redis_store.set(keys.lease(THEM), "1", px=round(TAIL_SECONDS * 1000))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(redis_client.run)
        await lease.take()
        tasks.start_soon(lease.keep, nothing, lambda: None)
        node_liveness = NodeLiveness(redis_client, keys, lease, DataLossWatch(redis_client, keys, lease))
        tasks.start_soon(
            node_liveness.watch, lambda: beyond | {THEM}, lambda node_id, _: told.append(node_id), told.append
        )
        await until(lambda: told)
        tasks.cancel_scope.cancel()
    await redis_client.aclose()
    assert told == [THEM]


async def test_a_lease_that_is_missing_is_told_of_however_rarely_somebody_asks(
    redis_server: RedisServer, prefix: str
) -> None:
    """A user who wants a dead user's name may ask once a minute, but the node checks all the time."""
    redis_client, keys = RedisClient(redis_server.url), Keys(prefix)
    lease = Lease(redis_client, keys, US, LEASE)
    node_liveness = NodeLiveness(redis_client, keys, lease, DataLossWatch(redis_client, keys, lease))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(redis_client.run)
        await lease.take()
        tasks.start_soon(lease.keep, nothing, lambda: None)
        tasks.start_soon(node_liveness.watch, nobody, lambda _node_id, _since: None, lambda _node_id: None)
        assert await node_liveness.lapsed(THEM) is None  # it may have been lost, and may be written again
        with anyio.fail_after(10):  # a check that is late on a busy machine starts again
            await anyio.sleep(2 * LEASE)  # nobody asks meanwhile
            while (since := await node_liveness.lapsed(THEM)) is None:  # noqa: ASYNC110
                await anyio.sleep(2 * LEASE)
        tasks.cancel_scope.cancel()
    await redis_client.aclose()
    assert since is not None
    assert since >= LEASE


async def test_a_lease_that_was_put_back_meanwhile_is_missing_from_then_on(
    redis_server: RedisServer, redis_store: redis.Redis, prefix: str
) -> None:
    redis_client, keys = RedisClient(redis_server.url), Keys(prefix)
    lease = Lease(redis_client, keys, US, LEASE)
    node_liveness = NodeLiveness(redis_client, keys, lease, DataLossWatch(redis_client, keys, lease))
    held = round((TAIL_SECONDS + 2 * LEASE) * 1000)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(redis_client.run)
        await lease.take()
        tasks.start_soon(lease.keep, nothing, lambda: None)
        tasks.start_soon(node_liveness.watch, nobody, lambda _node_id, _since: None, lambda _node_id: None)
        assert await node_liveness.lapsed(THEM) is None
        await anyio.sleep(LEASE / 2)
        redis_store.set(keys.lease(THEM), "1", px=held)
        await anyio.sleep(LEASE)
        redis_store.delete(keys.lease(THEM))
        await anyio.sleep(1.5 * LEASE)
        first = await node_liveness.lapsed(THEM)  # it had promised to live until now
        tasks.cancel_scope.cancel()
    await redis_client.aclose()
    assert first is None or first < LEASE


async def test_nodes_without_a_lease_are_told_once_our_own_was_held_for_long_enough(
    redis_server: RedisServer, redis_store: redis.Redis, prefix: str
) -> None:
    redis_client, keys = RedisClient(redis_server.url), Keys(prefix)
    lease = Lease(redis_client, keys, US, LEASE)
    node_liveness = NodeLiveness(redis_client, keys, lease, DataLossWatch(redis_client, keys, lease))
    held, lapsed, missing = (digit * 16 for digit in "cde")
    redis_store.set(keys.lease(held), "1", px=round((TAIL_SECONDS + 60) * 1000))
    redis_store.set(keys.lease(lapsed), "1", px=round(TAIL_SECONDS * 1000) - 1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(redis_client.run)
        await lease.take()
        assert await node_liveness.absent([held, lapsed, missing]) == set(), "who lives must have had time to come back"
        lease._since -= 2 * LEASE  # private: else a lease would have to be waited for
        assert await node_liveness.absent([held, lapsed, missing]) == {lapsed, missing}
        tasks.cancel_scope.cancel()
    await redis_client.aclose()
    assert await node_liveness.absent([]) == set()


# private: what is remembered of the dead shows only in memory
async def test_knowledge_of_leases_that_lapsed_long_ago_is_dropped_a_little_at_a_time(
    redis_server: RedisServer, prefix: str
) -> None:
    redis_client, keys = RedisClient(redis_server.url), Keys(prefix)
    lease = Lease(redis_client, keys, US, LEASE)
    node_liveness = NodeLiveness(redis_client, keys, lease, DataLossWatch(redis_client, keys, lease))
    now = clock()
    old = {f"{n:016}": _Promise(now - TAIL_SECONDS - 1, 0.0) for n in range(2 * TIDY)}
    node_liveness._promises = {THEM: _Promise(now - TAIL_SECONDS + 60, 0.0), **old}
    node_liveness._tidy()
    assert len(node_liveness._promises) == TIDY + 2
    node_liveness._tidy()
    node_liveness._tidy()
    assert list(node_liveness._promises) == [THEM]
    node_liveness.forget([THEM, US])
    assert not node_liveness._promises
