"""Pipelines to one server: answers in order, silence, broken connections, and a server that has changed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import redis.exceptions

from relay.redis_client import round_trip_timeout
from relay.redis_client.client import RedisClient
from relay.redis_client.dialing import Connection
from relay.redis_client.pipeline import PipelineConnection
from tests.relay.desk import until

pytestmark = pytest.mark.anyio


class Server:
    """Answers each write as the test says, once the connection is set up."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []  # None: disconnect
        self.connections = 0  # number of connections so far
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        while data := await reader.read(65536):
            if b"GET" not in data:
                writer.write(b"+OK\r\n" * data.count(b"*"))
                continue
            answer = self.answers.pop(0)
            if answer is None:
                break
            writer.write(answer)
        writer.close()
        self.open -= 1


class Scene:
    def __init__(self, server: Server, port: int, line: PipelineConnection) -> None:
        self.server = server
        self.port = port
        self.line = line
        self.current = True

    async def ask(self, *answers: bytes | None, commands: int = 1) -> list[Any]:
        self.server.answers += answers
        return await self.line.ask([("GET", str(n)) for n in range(commands)])


@asynccontextmanager
async def opened() -> AsyncIterator[Scene]:
    server = Server()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        redis_client = RedisClient(f"redis://127.0.0.1:{port}")
        scene = Scene(server, port, PipelineConnection(lambda: redis_client.connect(""), lambda _: scene.current))
        yield scene
        scene.line.close()
        await redis_client.aclose()
        await until(lambda: not server.open)


async def test_answers_come_in_order() -> None:
    async with opened() as scene:
        assert await scene.ask(b":1\r\n$2\r\nhi\r\n*1\r\n:3\r\n", commands=3) == [1, b"hi", [3]]
        assert await scene.ask(b":4\r\n") == [4]
        assert scene.server.connections == 1


async def test_refusals_are_among_the_answers() -> None:
    async with opened() as scene:
        unknown, busy, fine = await scene.ask(b"-NOSCRIPT no\r\n-LOADING later\r\n+OK\r\n", commands=3)
        assert isinstance(unknown, redis.exceptions.NoScriptError)
        assert isinstance(busy, redis.exceptions.BusyLoadingError)
        assert str(busy) == "LOADING later"
        assert fine == b"OK"


async def test_a_pipeline_without_an_answer_is_given_up_and_the_next_one_has_a_new_connection() -> None:
    async with opened() as scene:
        with pytest.raises(redis.exceptions.TimeoutError):
            await scene.ask(b":1\r\n", commands=2)
        assert await scene.ask(b":2\r\n") == [2]
        assert scene.server.connections == 2


async def test_a_connection_that_breaks_is_told_at_once() -> None:
    async with opened() as scene:
        with pytest.raises(redis.exceptions.ConnectionError):
            await scene.ask(None)
        assert await scene.ask(b":2\r\n") == [2]


async def test_a_connection_to_a_server_that_has_been_replaced_is_left() -> None:
    async with opened() as scene:
        await scene.ask(b":1\r\n")
        scene.current = False
        await scene.ask(b":1\r\n")
        assert scene.server.connections == 2


async def test_a_pipeline_that_was_cancelled_leaves_no_answers_behind() -> None:
    async with opened() as scene:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(scene.ask, b"")
            await until(lambda: scene.server.connections and not scene.server.answers)  # it has been asked
            tasks.cancel_scope.cancel()
        assert await scene.ask(b":2\r\n") == [2]
        assert scene.server.connections == 2, "an answer might still come on the first one"


async def test_a_command_to_a_server_that_hung_up_before_is_told_of_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for wait in ("FIRST_SECONDS", "SLACK_SECONDS", "LONGEST_SECONDS"):
        monkeypatch.setattr(round_trip_timeout, wait, 3600.0)
    async with opened() as scene:
        redis_client = RedisClient(f"redis://127.0.0.1:{scene.port}")

        async def lost() -> Connection:
            connection = await redis_client.connect("")
            connection.close()
            await until(connection.reader.at_eof)
            return connection

        line = PipelineConnection(lost, lambda _: True)
        with (
            anyio.fail_after(30),
            pytest.raises(redis.exceptions.ConnectionError, match=f"127.0.0.1:{scene.port}: connection lost"),
        ):
            await line.ask([("GET", "1")])
        await redis_client.aclose()
