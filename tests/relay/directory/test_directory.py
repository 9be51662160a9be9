"""The directory ignores records and fencing tokens that can't be right."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import redis
from structlog.testing import capture_logs

from relay.directory.directory import FENCE_MAX, Directory, NameLost, SessionRecord, Unavailable
from relay.redis_client.keys import Keys
from relay.session.runtime_interface import Limits
from tests.relay.desk import a_hub
from tests.support.server import RedisServer

pytestmark = pytest.mark.anyio

DAY_US = 86_400_000_000
BODY = SessionRecord("ann", 30.0, "", False, "", None)


@pytest.fixture
async def directory(redis_server: RedisServer, prefix: str) -> AsyncIterator[Directory]:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(a_hub(redis_server.url, prefix, Limits()))
        yield hub.directory


@pytest.fixture
async def other(redis_server: RedisServer, prefix: str, directory: Directory) -> AsyncIterator[Directory]:
    """The directory as another node sees it."""
    async with a_hub(redis_server.url, prefix, Limits(), "m" * 16) as hub:
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


async def test_a_session_that_moved_keeps_its_name_if_the_former_one_is_written_back_first(
    directory: Directory, other: Directory, redis_store: redis.Redis, prefix: str
) -> None:
    """The clock of the server is behind, and it loses its data twice before the former node hears of the move."""
    directory.know(time.time_ns() // 1000 + DAY_US)
    place = Keys(prefix).place("ann")
    former = await directory.claim("ann", "s1", BODY)
    holder = await other.find("ann")
    assert former is not None
    assert holder is not None
    present = await other.take_over(holder, "ann", "s2", BODY)
    assert present is not None
    for _ in range(2):
        redis_store.hdel(place.key, place.field)
        former = await directory.save("ann", "s1", former, BODY)
    assert await other.save("ann", "s2", present, BODY) >= present
    with pytest.raises(NameLost):
        await directory.save("ann", "s1", former, BODY)


@pytest.mark.parametrize("reads", ["a look-up", "a claim", "a resume", "the sweep"])
async def test_no_fence_is_granted_below_one_that_was_read(
    directory: Directory, other: Directory, redis_store: redis.Redis, prefix: str, reads: str
) -> None:
    """The server may lose the record, and its clock may be behind that of the server which granted it."""
    other.know(time.time_ns() // 1000 + DAY_US)
    owned = await other.claim("ann", "s1", BODY)
    assert owned is not None
    match reads:
        case "a look-up":
            await directory.find("ann")
        case "a claim":
            assert await directory.claim("ann", "s2", BODY) is None
        case "a resume":
            assert await directory.resumed("ann", BODY.token) is not None
        case _:
            await directory.tidy([Keys(prefix).place("ann").partition])
    redis_store.hdel(Keys(prefix).place("ann").key, Keys(prefix).place("ann").field)
    granted = await directory.claim("ann", "s3", BODY)
    assert granted is not None
    assert granted > owned
