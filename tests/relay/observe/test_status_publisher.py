"""The reports of nodes in Redis: those of dead nodes are removed, and any number of them can be read."""

import time
from collections.abc import AsyncIterator

import anyio
import msgspec
import pytest
import redis

from relay.configuration.config import Config
from relay.hub.hub import Hub
from relay.metrics import Counts
from relay.observe import status_publisher
from relay.observe.status_publisher import COUNT, KEPT_SECONDS, StatusPublisher, read
from relay.observe.status_report import Report, encode
from relay.redis_client.client import RedisClient
from relay.redis_client.keys import Keys
from tests.relay.desk import until
from tests.support.server import RedisServer

pytestmark = pytest.mark.anyio

UID = "1" * 16
REPORT = Report("n1", "1.0", 0.0, 3700.0, 5.0)


@pytest.fixture
async def redis_client(redis_server: RedisServer) -> AsyncIterator[RedisClient]:
    redis_client = RedisClient(redis_server.url)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(redis_client.run)
        yield redis_client
        tasks.cancel_scope.cancel()
    await redis_client.aclose()


@pytest.fixture
def publisher(redis_client: RedisClient, hub: Hub, prefix: str) -> StatusPublisher:
    return StatusPublisher(Config(), UID, redis_client, Keys(prefix), hub, lambda: "")


def leave(redis_client: redis.Redis, prefix: str, node_id: str, report: bytes) -> None:
    key = Keys(prefix).nodes
    redis_client.hset(key, node_id, report)
    redis_client.expire(key, 60)


async def test_reports_of_dead_nodes_and_of_strangers_are_dropped(
    publisher: StatusPublisher, redis_store: redis.Redis, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of one node is two hours behind, and that of another was ahead."""
    now = time.time()
    leave(redis_store, prefix, "fresh", encode(msgspec.structs.replace(REPORT, at=now - 2 * KEPT_SECONDS)))
    leave(redis_store, prefix, "old", encode(msgspec.structs.replace(REPORT, at=now + 2 * KEPT_SECONDS)))
    leave(redis_store, prefix, "garbage", b"nonsense")
    for node_id in ("fresh", "garbage", UID):
        redis_store.set(Keys(prefix).lease(node_id), "1", ex=60)
    monkeypatch.setattr(status_publisher, "REPORT_SECONDS", 0.001)
    monkeypatch.setattr(status_publisher, "TIDY_EVERY", 1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(publisher.run)
        await until(lambda: set(redis_store.hkeys(Keys(prefix).nodes)) == {"fresh", UID})
        for _ in range(3):  # it has tidied up before it reports again, although there is nothing to drop any more
            redis_store.hdel(Keys(prefix).nodes, UID)
            await until(lambda: set(redis_store.hkeys(Keys(prefix).nodes)) == {"fresh", UID})
        tasks.cancel_scope.cancel()


async def test_more_reports_than_one_answer_holds_are_all_read(
    redis_client: RedisClient, redis_store: redis.Redis, prefix: str
) -> None:
    node_ids = {f"uid{number}" for number in range(10 * COUNT)}
    redis_store.hset(Keys(prefix).nodes, mapping={node_id: encode(REPORT) for node_id in node_ids})
    redis_store.expire(Keys(prefix).nodes, 60)
    found = await read(redis_client, Keys(prefix).nodes)
    assert set(found) == node_ids
    assert set(found.values()) == {REPORT}


async def test_a_node_that_ends_says_nothing_more(
    publisher: StatusPublisher, redis_store: redis.Redis, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would come back to the list that it has just left."""
    monkeypatch.setattr(status_publisher, "REPORT_SECONDS", 0.001)
    key = Keys(prefix).nodes
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(publisher.run)
            await until(lambda: redis_store.hlen(key))
            await publisher.withdraw()
    assert redis_store.hlen(key) == 0


# private: two reports are never so close that one could wait for it
async def test_two_reports_at_once_tell_no_rate(publisher: StatusPublisher) -> None:
    counts = Counts()
    counts.accepted = counts.delivered = 100
    assert publisher._rates(counts, 0.0) == (0.0, 0.0)
    assert publisher._rates(counts, 1.0) == (0.0, 0.0), "those were counted"
