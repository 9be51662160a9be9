"""Asks one server: the commands of a pipeline in one write, their answers in the same order.

What goes over a connection is written and read here. A pipeline of redis-py's took a seventh of a node's time while
thousands log in (docs/performance.md).
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import redis.exceptions

from relay.redis_client.connection import RespConnection
from relay.redis_client.dialing import Connection
from relay.redis_client.error_replies import refusal


class PipelineConnection:
    """A connection that is made when it's needed. One pipeline at a time."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], current: Callable[[Connection], bool]) -> None:
        """`current(connection)`: whether it still leads to where a new one would."""
        self._connect = connect
        self._current = current
        self._connection: _Asking | None = None

    async def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """The answers; refusals are exceptions among them. Raises what redis-py raises, TimeoutError and OSError.

        After that, or when cancelled, it's unknown what was carried out, and the next pipeline has a new connection.
        """
        connection = self._connection
        if connection is None or connection.over or not self._current(connection.origin):
            self.close()
            connection = self._connection = _Asking(await self._connect())
        return await connection.ask(commands)

    @property
    def latency(self) -> float:
        """Seconds that the way to the server and back takes; 0 while that isn't known."""
        return 0.0 if self._connection is None else self._connection.latency

    def abort(self) -> None:
        """Give the connection up, if there is one: who waits for answers there won't have them."""
        if self._connection is not None:
            self._connection.abort()

    def close(self) -> None:
        """Close the connection, if there is one; the next pipeline has a new one."""
        self.abort()
        self._connection = None


class _Asking(RespConnection):
    def __init__(self, connection: Connection) -> None:
        self.over = False  # it is unknown what its next answer would be about
        self._answers: list[Any] = []
        self._wanted = 0
        self._all = anyio.Event()  # they are there, or won't come
        super().__init__(connection, self._answered)

    async def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        self.over = True
        self._answers, self._wanted, self._all = [], len(commands), anyio.Event()
        if self.lost.is_set():  # before it was taken over
            raise redis.exceptions.ConnectionError(f"{self.origin.address}: connection lost")
        began, round_trip = time.monotonic(), self.origin.round_trip
        self.send(*map(tuple, commands))
        while len(self._answers) < self._wanted:
            before, patience = len(self._answers), round_trip.patience
            with anyio.move_on_after(patience):
                await self._all.wait()
            if self.lost.is_set() and len(self._answers) < self._wanted:
                raise redis.exceptions.ConnectionError(f"{self.origin.address}: connection lost")
            if len(self._answers) == before:
                round_trip.missed()
                raise redis.exceptions.TimeoutError(f"{self.origin.address}: no answer within {patience:.1f} s")
        round_trip.took(time.monotonic() - began)
        self.over = self.lost.is_set()
        return self._answers

    def _answered(self, answer: Any) -> None:
        self._answers.append(refusal(str(answer)) if isinstance(answer, Exception) else answer)
        if len(self._answers) >= self._wanted:
            self._all.set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.over = True
        self._all.set()
