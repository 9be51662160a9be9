"""Calls that wait behind others: for as long as those are answered, but not if Redis is away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import anyio
import pytest
import redis.exceptions

from relay.metrics import Counts
from relay.redis_client import request_queue as queue_module
from relay.redis_client.client import RedisClient, Unavailable
from relay.redis_client.pipeline import PipelineConnection
from relay.redis_client.request_queue import BATCH, CALL_SECONDS, FAILED_SECONDS, Call, RequestQueue
from tests.relay.desk import patient, until
from tests.support.clocks import own_clock

pytestmark = pytest.mark.anyio

SLOW = 0.25  # seconds for each pipeline


class Server:
    """Answers each pipeline slowly, and records it."""

    def __init__(self) -> None:
        self.begun = 0  # pipelines
        self.held = False
        self.asked: list[str] = []
        self.pipelines: list[list[str]] = []
        self.silent = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await _read(reader):
            words = [part.split(b"\r\n")[2::2] for part in data.split(b"*")[1:]]
            if any(command[0] == b"GET" for command in words):
                self.begun += 1
                await anyio.sleep(0 if self.held else SLOW)
                await until(lambda: not self.held)
                self.pipelines.append([command[1].decode() for command in words if command[0] == b"GET"])
                self.asked += self.pipelines[-1]
            if not self.silent:
                writer.write(b"+OK\r\n" * len(words))
        writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Return the received data, or nothing at any kind of end."""
    try:
        return await reader.read(65536)
    except ConnectionResetError:
        return b""


@asynccontextmanager
async def a_store(server: Server) -> AsyncIterator[RedisClient]:
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listener:
        redis_client = RedisClient(f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(redis_client.run)
            yield redis_client
            tasks.cancel_scope.cancel()
        await redis_client.aclose()


async def test_a_crowd_is_answered_in_its_turn_however_long_that_takes() -> None:
    rounds = int(CALL_SECONDS / SLOW) + 3
    server = Server()
    async with a_store(server) as redis_client, anyio.create_task_group() as tasks:
        for n in range(BATCH * rounds):
            tasks.start_soon(redis_client.call, "GET", str(n))
    assert server.asked == [str(n) for n in range(BATCH * rounds)]


async def test_an_urgent_call_comes_next() -> None:
    server = Server()
    server.held = True
    with patient():
        async with a_store(server) as redis_client, anyio.create_task_group() as tasks:
            for n in range(3 * BATCH):
                tasks.start_soon(redis_client.call, "GET", str(n))
            await until(lambda: server.begun)  # the first ones are under way
            tasks.start_soon(partial(redis_client.call, "GET", "lease", urgent=True))
            await anyio.wait_all_tasks_blocked()
            server.held = False
    assert server.asked.index("lease") == BATCH


async def test_calls_that_came_while_others_were_made_wait_a_moment_for_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_module, "GATHER_SECONDS", 1.0)
    server = Server()
    server.held = True
    with patient():
        async with a_store(server) as redis_client, anyio.create_task_group() as tasks:
            answered = anyio.Event()

            async def first() -> None:
                await redis_client.call("GET", "first")
                answered.set()

            tasks.start_soon(first)
            await until(lambda: server.begun)
            tasks.start_soon(redis_client.call, "GET", "meanwhile")
            await anyio.wait_all_tasks_blocked()
            server.held = False
            await answered.wait()
            tasks.start_soon(redis_client.call, "GET", "soon after")
    assert server.pipelines == [["first"], ["meanwhile", "soon after"]]


async def test_a_call_that_comes_alone_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "GATHER_SECONDS", 60.0)
    with patient(), anyio.fail_after(30):
        async with a_store(Server()) as redis_client:
            await redis_client.call("GET", "one")
            await redis_client.call("GET", "then the next")


class Line:
    """Stands for the connection to a server, which is there or isn't."""

    latency = 0.0

    def __init__(self, *there: bool) -> None:
        self.there = list(there)  # for one pipeline after the other; then it isn't
        self.asked = 0

    async def ask(self, commands: Sequence[Sequence[object]]) -> list[object]:
        self.asked += 1
        if not (self.there.pop(0) if self.there else False):
            raise redis.exceptions.ConnectionError("connection refused")
        return [redis.exceptions.ResponseError("OOM")] * len(commands)  # even a refusal comes from a server

    def close(self) -> None:
        pass


async def pipelines(line: Line, calls: int) -> None:
    """Make one call after another, each of which has its outcome before the next one."""

    def ended(call: Call, error: Exception) -> None:
        call.end(error)

    queue = RequestQueue(cast(PipelineConnection, line), Counts(), ended)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queue.run)
            for n in range(calls):
                call = Call(("GET", str(n)), 0.0)
                queue.put(call)
                await call.done
            queue.put(Call(("GET", "a last one"), 0.0))
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()


async def test_a_server_that_is_away_is_not_connected_to_for_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "FAILED_SECONDS", (0.0, 0.0, 3600.0))
    line = Line(True, False, False)
    await pipelines(line, 3)
    assert line.asked == 3, "there is a pause after the second failure in a row"


async def test_a_server_that_replies_at_all_is_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "FAILED_SECONDS", (0.0, 0.0, 3600.0))
    line = Line(*[True, False] * 5)
    await pipelines(line, 10)
    assert line.asked == 11


async def test_a_call_that_runs_out_of_time_in_the_pause_says_why_it_failed_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_module, "FAILED_SECONDS", (0.0, 0.0, 3600.0))

    async def refuse(*_: Any) -> Any:
        raise redis.exceptions.ConnectionError("the door is shut")

    async with a_store(Server()) as redis_client:
        monkeypatch.setattr(PipelineConnection, "ask", refuse)
        with pytest.raises(Unavailable, match="the door is shut"):
            await redis_client.call("GET", "a")


def test_the_pause_before_a_server_is_tried_again_is_a_part_of_the_time_of_a_call() -> None:
    assert FAILED_SECONDS[:2] == (0.0, 0.0)
    assert max(FAILED_SECONDS) < CALL_SECONDS / 4
    assert list(FAILED_SECONDS) == sorted(FAILED_SECONDS)


async def test_when_redis_is_away_nobody_waits_for_more_than_a_second() -> None:
    server = Server()
    server.silent = True
    refused: list[float] = []

    async def ask(redis_client: RedisClient, n: int) -> None:
        began = clock()
        with pytest.raises(Unavailable):
            await redis_client.call("GET", str(n))
        refused.append(clock() - began)

    async with a_store(server) as redis_client, own_clock() as clock:
        with pytest.raises(Unavailable):
            await redis_client.call("GET", "first")  # it is known from now on
        async with anyio.create_task_group() as tasks:
            for n in range(4 * BATCH):
                tasks.start_soon(ask, redis_client, n)
    assert len(refused) == 4 * BATCH
    assert max(refused) < CALL_SECONDS + 0.5
