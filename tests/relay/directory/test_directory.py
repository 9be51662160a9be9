"""The directory ignores records and fencing tokens that can't be right."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import redis
from structlog.testing import capture_logs

from relay.directory.directory import FENCE_MAX, Directory, SessionRecord, Unavailable
from relay.redis_client.keys import Keys
from relay.session.runtime_interface import Limits
from tests.relay.desk import a_hub
from tests.support.server import RedisServer

pytestmark = pytest.mark.anyio

BODY = SessionRecord("ann", 30.0, "", False, "", None)


@pytest.fixture
async def directory(redis_server: RedisServer, prefix: str) -> AsyncIterator[Directory]:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(a_hub(redis_server.url, prefix, Limits()))
        yield hub.directory


async def test_a_record_that_cannot_be_read_is_logged_and_belongs_to_nobody(
    directory: Directory, redis_store: redis.Redis, prefix: str
) -> None:
    place = Keys(prefix).place("ann")
    redis_store.hset(place.key, place.field, "nonsense")
    with capture_logs() as log:
        assert await directory.find("ann") is None
    assert [line["event"] for line in log] == ["unreadable record"]
    redis_store.hdel(place.key, place.field)


async def test_taking_over_waits_where_the_partition_was_forgotten(
    directory: Directory, redis_store: redis.Redis, prefix: str
) -> None:
    """Its owner may be alive and write it back, so nobody may have it before that."""
    assert await directory.claim("ann", "s1", BODY) is not None
    holder = await directory.find("ann")
    assert holder is not None
    redis_store.delete(Keys(prefix).place("ann").key)
    with pytest.raises(Unavailable, match="the partition was forgotten"):
        await directory.take_over(holder, "ann", "s2", BODY)


async def test_no_fence_is_believed_that_no_node_could_grant(directory: Directory) -> None:
    """Another node may send a number that no further number could follow."""
    before = directory.highest
    directory.know(before + 5)
    assert directory.highest == before + 5
    directory.know(FENCE_MAX + 1)
    directory.know(before)
    assert directory.highest == before + 5
