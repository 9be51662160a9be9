"""The frames that the bus publishes on a single server, and the replies to them."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from relay.bus.standalone_publisher_backend import ANSWERED, StandalonePublisherBackend
from relay.redis_client.client import RedisClient
from tests.relay.desk import until
from tests.support.server import RedisServer

pytestmark = pytest.mark.anyio

HI = ("PUBLISH", "c", b"hi")


class Scene:
    """A publisher on a separate server, with the replies and the commands that the server executed."""

    def __init__(self, server: RedisServer) -> None:
        self._client = server.client()
        self.answers: list[tuple[Any, int]] = []

    async def open(self, url: str) -> None:
        self._client.config_resetstat()
        self._redis_client = RedisClient(url)
        self.publisher = StandalonePublisherBackend(
            await self._redis_client.connect(""), lambda *answer: self.answers.append(answer), HI
        )

    async def close(self) -> None:
        self.publisher.abort()
        await self._redis_client.aclose()
        self._client.close()

    def published(self) -> int:
        """Return the messages that the server received, without the trials."""
        calls: dict[str, Any] = self._client.info("commandstats").get("cmdstat_publish", {"calls": 0})
        return int(calls["calls"]) - 2


@pytest.fixture
async def scene(own_redis: RedisServer) -> AsyncIterator[Callable[..., Any]]:
    opened: list[Scene] = []

    async def open_(url: str = own_redis.url) -> Scene:
        opened.append(Scene(own_redis))
        await opened[-1].open(url)
        return opened[-1]

    yield open_
    for one in opened:
        await one.close()


async def test_the_trial_shows_that_answers_can_be_skipped(scene: Callable[..., Any]) -> None:
    its = await scene()
    await until(lambda: its.answers)
    assert its.answers == [(0, 0)]


async def test_the_last_of_so_many_messages_is_answered_for_all_of_them(scene: Callable[..., Any]) -> None:
    its = await scene()
    await until(lambda: its.answers)
    for _ in range(ANSWERED - 1):
        its.publisher.send(HI)
    await until(lambda: its.published() == ANSWERED - 1)
    assert its.answers[1:] == []
    its.publisher.send(HI)
    await until(lambda: its.answers[1:])
    assert its.answers[1:] == [(0, ANSWERED)]


async def test_many_messages_at_once_have_one_answer(scene: Callable[..., Any]) -> None:
    its = await scene()
    await until(lambda: its.answers)
    its.publisher.send(*[HI] * 20)
    await until(lambda: its.answers[1:])
    assert its.answers[1:] == [(0, 20)]
    assert its.published() == 20


async def test_messages_sent_before_the_trial_is_over_are_answered(scene: Callable[..., Any]) -> None:
    its = await scene()
    its.publisher.send(HI, HI)
    await until(lambda: len(its.answers) == 3)
    assert its.answers == [(0, 0), (0, 1), (0, 1)]


async def test_everything_is_answered_where_skipping_is_not_allowed(
    own_redis: RedisServer, scene: Callable[..., Any]
) -> None:
    rights = {"channels": ["*"], "commands": ["+publish", "+client|setinfo", "+select"]}
    with own_redis.client() as client:
        client.acl_setuser("loud", enabled=True, passwords=["+pw"], **rights)
    its = await scene(own_redis.url.replace("//", "//loud:pw@"))
    its.publisher.send(HI)
    await until(lambda: len(its.answers) == 3)
    its.publisher.send(HI)
    await until(lambda: len(its.answers) == 4)
    assert its.answers == [(0, 0), (0, 0), (0, 1), (0, 1)]


async def test_a_probe_is_answered_for_all_before_it(scene: Callable[..., Any]) -> None:
    its = await scene()
    await until(lambda: its.answers)
    its.publisher.send(HI)
    assert its.publisher.silence == 0.0, "nothing is owed for it"
    its.publisher.probe(HI)
    assert its.publisher.unanswered
    await until(lambda: its.answers[1:])
    assert its.answers[1:] == [(0, 2)]
    assert its.publisher.silence == 0.0


async def test_a_server_that_stands_still_is_silent_from_the_first_answer_on_that_it_owes(
    own_redis: RedisServer, scene: Callable[..., Any]
) -> None:
    its = await scene()
    await until(lambda: its.answers)
    own_redis.process.pause()
    for _ in range(3):
        its.publisher.probe(HI)
    first = its.publisher.silence
    await until(lambda: its.publisher.silence > first + 0.05)
    its.publisher.probe(HI)
    assert its.publisher.silence > first + 0.05
    own_redis.process.resume()
    await until(lambda: not its.publisher.silence)


async def test_a_server_that_refuses_to_publish_but_not_to_skip_owes_nothing_more(
    own_redis: RedisServer, scene: Callable[..., Any]
) -> None:
    with own_redis.client() as client:
        client.acl_setuser("mute", enabled=True, passwords=["+pw"], channels=["*"], commands=["+@all", "-publish"])
    its = await scene(own_redis.url.replace("//", "//mute:pw@"))
    await until(lambda: its.answers)
    its.publisher.probe(HI)
    await until(lambda: its.answers[1:])
    assert [(type(reply).__name__, count) for reply, count in its.answers] == [("ReplyError", 0), ("ReplyError", 1)]
    assert its.publisher.silence == 0.0
