"""A connection to Redis whose bytes we read and write ourselves.

`relay.redis_client.dialing` makes it (TLS, AUTH) and hands its transport over. Measured in a prototype: a lone awaited
PUBLISH costs 60-80 µs through redis-py and 5 µs this way.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import anyio
import hiredis

from relay.redis_client.dialing import Command, Connection, pack

# A server that owes an answer for so long isn't called well any more.
DOUBTFUL_SECONDS: Final = 1.0


class RespConnection(asyncio.Protocol):
    """Calls `on_reply` for each reply or pushed message, and ends `lost` when the connection is gone."""

    def __init__(self, connection: Connection, on_reply: Callable[[Any], None]) -> None:
        """Take over a connection that is set up and idle."""
        self.lost = anyio.Event()
        self.origin = connection
        self._on_reply = on_reply
        self._reader = hiredis.Reader()
        reader, writer = connection.reader, connection.writer
        self._transport = writer.transport
        self._transport.set_protocol(self)
        if self._transport.is_closing() or reader.at_eof():  # over already: nobody will say so again
            self._transport.abort()
            self.lost.set()

    @property
    def latency(self) -> float:
        """Seconds that the way to the server and back takes, as far as is known."""
        return self.origin.round_trip.least

    def send(self, *commands: Command) -> None:
        """Write commands at once. On a broken connection they are lost, as they could be on the way; `lost` tells."""
        self._write(b"".join(map(pack, commands)))

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._on_reply(reply)
        except hiredis.ProtocolError:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self.lost.set()

    def abort(self) -> None:
        """Close at once, without waiting for the other side; `lost` follows."""
        self._transport.abort()


class Answered(RespConnection):
    """Counts the answers that the server owes, so that a way on which they get lost is noticed.

    `answered(reply, count)`: so many commands were carried out, or refused.
    """

    def __init__(self, connection: Connection, answered: Callable[[Any, int], None]) -> None:
        """Take over a connection that is set up and idle."""
        self._answered = answered
        self._owed: deque[int] = deque()  # number of commands that each answer to come stands for
        self._since = 0.0
        super().__init__(connection, self._heard)

    @property
    def address(self) -> str:
        """Of the server."""
        return self.origin.address

    @property
    def silence(self) -> float:
        """Seconds for which the server has owed an answer and said nothing, the way there and back not counted.

        0 if it owes none.
        """
        return max(0.0, time.monotonic() - self._since - self.latency) if self._owed else 0.0

    @property
    def trouble(self) -> str:
        """Why what is sent may not arrive; empty if answers come."""
        silence = self.silence
        return f"no answer from {self.address} for {silence:.1f} s" if silence > DOUBTFUL_SECONDS else ""

    @property
    def unanswered(self) -> int:
        """Commands that are under way."""
        return sum(self._owed)

    def send(self, *commands: Command) -> None:
        """Write commands at once. Each is answered."""
        self._owe([1] * len(commands))
        super().send(*commands)

    def send_uncounted(self, command: Command) -> None:
        """Write a command whose answer says only that the server is there."""
        self._owe([0])
        super().send(command)

    def _owe(self, counts: list[int]) -> None:
        if not self._owed:
            self._since = time.monotonic()
        self._owed.extend(counts)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self._since = time.monotonic()
        super().data_received(data)

    def _heard(self, reply: Any) -> None:
        self._answered(reply, self._owed.popleft())
