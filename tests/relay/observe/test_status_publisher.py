"""What the nodes say of themselves in Redis: what is left by the dead goes, and no amount of it is too much to read."""

import time
from collections.abc import AsyncIterator

import anyio
import msgspec
import pytest
import redis

from relay.config import Config
from relay.metrics import Counts
from relay.node import Node
from relay.observe import status_publisher
from relay.observe.status_publisher import COUNT, KEPT_SECONDS, read
from relay.observe.status_report import Report, encode
from relay.redis_client.keys import Keys
from tests.relay.desk import until
from tests.support.server import RedisServer

pytestmark = pytest.mark.anyio

REPORT = Report("n1", "1.0", 0.0, 3700.0, 5.0)


@pytest.fixture
async def node(redis_server: RedisServer, prefix: str) -> AsyncIterator[Node]:
    """One of which nothing runs but its connection to Redis."""
    node = Node(Config(redis=redis_server.url, prefix=prefix))
    async with anyio.create_task_group() as tasks:
        node._assemble("1" * 16, tasks)
        tasks.start_soon(node._redis_client.run)
        yield node
        tasks.cancel_scope.cancel()
    await node._redis_client.aclose()


def leave(redis_client: redis.Redis, prefix: str, node_id: str, report: bytes) -> None:
    key = Keys(prefix).nodes
    redis_client.hset(key, node_id, report)
    redis_client.expire(key, 60)


async def test_what_the_dead_and_strangers_left_is_dropped(node: Node, redis_store: redis.Redis, prefix: str) -> None:
    now = time.time()
    leave(redis_store, prefix, "fresh", encode(msgspec.structs.replace(REPORT, at=now)))
    leave(redis_store, prefix, "old", encode(msgspec.structs.replace(REPORT, at=now - KEPT_SECONDS - 10)))
    leave(redis_store, prefix, "garbage", b"nonsense")
    await node._reporter._tidy()
    assert set(redis_store.hkeys(Keys(prefix).nodes)) == {"fresh"}
    await node._reporter._tidy()
    assert set(redis_store.hkeys(Keys(prefix).nodes)) == {"fresh"}, "nothing to drop"


async def test_more_reports_than_one_answer_holds_are_all_read(
    node: Node, redis_store: redis.Redis, prefix: str
) -> None:
    node_ids = {f"uid{number}" for number in range(10 * COUNT)}
    redis_store.hset(Keys(prefix).nodes, mapping={node_id: encode(REPORT) for node_id in node_ids})
    redis_store.expire(Keys(prefix).nodes, 60)
    found = await read(node._redis_client, Keys(prefix).nodes)
    assert set(found) == node_ids
    assert set(found.values()) == {REPORT}


async def test_a_node_that_ends_says_nothing_more(
    node: Node, redis_store: redis.Redis, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would come back to the list that it has just left."""
    monkeypatch.setattr(status_publisher, "REPORT_SECONDS", 0.001)
    key = Keys(prefix).nodes
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node._reporter.run)
            await until(lambda: redis_store.hlen(key))
            await node._reporter.withdraw()
    assert redis_store.hlen(key) == 0


async def test_two_reports_at_once_tell_no_rate(node: Node) -> None:
    counts = Counts()
    counts.taken = counts.delivered = 100
    assert node._reporter._rates(counts, 0.0) == (0.0, 0.0)
    assert node._reporter._rates(counts, 1.0) == (0.0, 0.0), "those were counted"
