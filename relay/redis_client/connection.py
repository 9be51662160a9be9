"""A connection to Redis that reads and writes RESP by itself.

`relay.redis_client.dialing` makes the connection (TLS, AUTH) and hands over its transport. In a prototype, a single
awaited PUBLISH cost 60-80 µs through redis-py and 5 µs this way.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import anyio
import hiredis

from relay.clock import clocks
from relay.redis_client.dialing import Command, Connection, pack

# A server that has owed a reply for this long is reported as trouble.
DOUBTFUL_SECONDS: Final = 1.0


class RespConnection(asyncio.Protocol):
    """Calls `on_reply` for each reply or pushed message, and sets `lost` once the connection is gone."""

    def __init__(self, connection: Connection, on_reply: Callable[[Any], None]) -> None:
        """Take over a connection that is set up and idle."""
        self.lost = anyio.Event()
        self.origin = connection
        self._on_reply = on_reply
        self._reader = hiredis.Reader()
        reader, writer = connection.reader, connection.writer
        self._transport = writer.transport
        self._transport.set_protocol(self)
        if self._transport.is_closing() or reader.at_eof():  # already lost: `connection_lost` won't be called
            self._transport.abort()
            self.lost.set()

    @property
    def latency(self) -> float:
        """The network round trip to the server in seconds; 0 while unknown."""
        return self.origin.round_trip.least

    def send(self, *commands: Command) -> None:
        """Write commands at once. On a broken connection they are lost, as they could be on the way; see `lost`."""
        self._write(b"".join(map(pack, commands)))

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._on_reply(reply)
        except hiredis.ProtocolError:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake the tasks that wait for `lost`."""
        self.lost.set()

    def abort(self) -> None:
        """Close at once, without waiting for the server; `lost` is set soon after."""
        self._transport.abort()


class Answered(RespConnection):
    """Counts the replies that the server owes, so that a connection on which they get lost is noticed.

    `answered(reply, count)` is called for each reply, with the number of commands that it covers.
    """

    def __init__(self, connection: Connection, answered: Callable[[Any, int], None]) -> None:
        """Take over a connection that is set up and idle."""
        self._answered = answered
        self._owed: deque[int] = deque()  # the number of commands covered by each pending reply
        self._since = 0.0
        super().__init__(connection, self._heard)

    @property
    def address(self) -> str:
        """The address of the server."""
        return self.origin.address

    @property
    def silence(self) -> float:
        """The seconds for which the server has owed a reply and been silent, less the network round trip.

        It is 0 if the server owes none.
        """
        return max(0.0, clocks.monotonic() - self._since - self.latency) if self._owed else 0.0

    @property
    def trouble(self) -> str:
        """The reason why commands may not arrive; empty if replies come."""
        silence = self.silence
        return f"no answer from {self.address} for {silence:.1f} s" if silence > DOUBTFUL_SECONDS else ""

    @property
    def unanswered(self) -> int:
        """The number of commands without a reply."""
        return sum(self._owed)

    def send(self, *commands: Command) -> None:
        """Write commands at once. Each gets a reply."""
        self._owe([1] * len(commands))
        super().send(*commands)

    def send_uncounted(self, command: Command) -> None:
        """Write a command whose reply covers no commands, and only shows that the server is there."""
        self._owe([0])
        super().send(command)

    def _owe(self, counts: list[int]) -> None:
        if not self._owed:
            self._since = clocks.monotonic()
        self._owed.extend(counts)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes."""
        self._since = clocks.monotonic()
        super().data_received(data)

    def _heard(self, reply: Any) -> None:
        self._answered(reply, self._owed.popleft())
