"""Sends pipelines to one server: the commands in one write, and their replies in the same order.

It writes and reads RESP by itself, as redis-py's pipelines took a seventh of a node's time while thousands log in
(docs/performance.md).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import redis.exceptions

from relay.clock import clocks
from relay.redis_client.connection import RespConnection
from relay.redis_client.dialing import Connection
from relay.redis_client.error_replies import refusal


class PipelineConnection:
    """A connection that is made when it is needed, for one pipeline at a time."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], current: Callable[[Connection], bool]) -> None:
        """`current(connection)` returns whether it leads to the same server as a new one would."""
        self._connect = connect
        self._current = current
        self._connection: _Asking | None = None

    async def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands and return their replies, with exceptions for refusals.

        Raises exceptions of redis-py, TimeoutError and OSError. After that, or a cancellation, it is unknown which
        commands were carried out, and the next pipeline has a new connection.
        """
        connection = self._connection
        if connection is None or connection.over or not self._current(connection.origin):
            self.close()
            connection = self._connection = _Asking(await self._connect())
        return await connection.ask(commands)

    @property
    def latency(self) -> float:
        """The network round trip to the server in seconds; 0 while unknown."""
        return 0.0 if self._connection is None else self._connection.latency

    def abort(self) -> None:
        """Close the connection, if there is one. A pipeline that is under way fails."""
        if self._connection is not None:
            self._connection.abort()

    def close(self) -> None:
        """Close the connection, if there is one. The next pipeline makes a new one."""
        self.abort()
        self._connection = None


class _Asking(RespConnection):
    def __init__(self, connection: Connection) -> None:
        self.over = False  # whether it can't be used again: its next reply may belong to an older command
        self._answers: list[Any] = []
        self._wanted = 0
        self._all = anyio.Event()  # is set once all replies are there, or can't come any more
        super().__init__(connection, self._answered)

    async def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        self.over = True
        self._answers, self._wanted, self._all = [], len(commands), anyio.Event()
        if self.lost.is_set():  # lost before it was taken over
            raise redis.exceptions.ConnectionError(f"{self.origin.address}: connection lost")
        began, round_trip = clocks.monotonic(), self.origin.round_trip
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
        round_trip.took(clocks.monotonic() - began)
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
