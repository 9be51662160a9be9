"""The reasons why a cluster can't be reached: lasting ones end a start, and the others are waited for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from relay.configuration.config import StartError
from relay.redis_client.client import RedisClient, Unavailable
from relay.tools.testbed.process import HOST, free_port
from tests.support.server import RedisServer

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def a_store(url: str) -> AsyncIterator[RedisClient]:
    redis_client = RedisClient(url)
    try:
        yield redis_client
    finally:
        await redis_client.aclose()


async def test_a_server_that_is_no_cluster_is_told_at_the_start(redis_server: RedisServer) -> None:
    async with a_store(f"redis+cluster://{HOST}:{redis_server.port}") as redis_client:
        with pytest.raises(StartError, match=r"^Redis Cluster can't be used: .*not enabled"):
            await redis_client.check()


async def test_a_cluster_that_is_not_there_yet_is_waited_for() -> None:
    async with a_store(f"redis+cluster://{HOST}:{free_port()}") as redis_client:
        with pytest.raises(Unavailable):
            await redis_client.check()


async def test_nothing_is_known_of_a_cluster_that_cannot_be_asked() -> None:
    async with a_store(f"redis+cluster://{HOST}:{free_port()}") as redis_client:
        assert await redis_client.eviction() == set()
        assert redis_client.home("channel") is None
        with pytest.raises(Unavailable, match="no server serves this channel"):
            await redis_client.connect(None)
        with pytest.raises(Unavailable):
            await redis_client.servers()
        with pytest.raises(Unavailable, match="another server has the place of"):
            await redis_client.connect("127.0.0.1:1")


async def test_a_server_that_is_away_can_be_told_nothing(redis_server: RedisServer) -> None:
    async with a_store(f"redis://{HOST}:{free_port()}/0") as redis_client:
        with pytest.raises(Unavailable):
            await redis_client.publish("channel", [b"word"])
