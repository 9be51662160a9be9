"""The model and a real server side by side: both get the same bytes, and what they say is compared.

Nothing waits for a time. After each step every connection is asked for an echo of its own, which comes after everything
that the step has caused there.
"""

import re
import socket
from collections.abc import Sequence
from itertools import count
from random import Random
from typing import Protocol

from relay.redis_client.dialing import pack
from relay.tools.testbed.process import HOST
from simulator.redis.endpoint import Endpoint

_READ = 65_536
_PATIENCE = 30.0  # seconds until a real server counts as hanging
CLOSED = b"(closed)"
# Times and what counts from them differ a little between two servers. No other number has so many digits.
_TIME = re.compile(rb"\d{5,}")
_SECONDS = 600  # by which they may differ: more than any test lasts
_MICROSECONDS = 10**10  # smaller numbers are milliseconds
EXACT = 3 * 10**15  # larger numbers are no times
# What each server has of its own: in the answer to HELLO, how many connections there were before, and how it was built;
# and the answer to TIME.
_OWN = re.compile(
    rb"(?<=\$2\r\nid\r\n):\d+|\$7\r\nmodules\r\n.*?\*0\r\n|(?<=\*2\r\n\$10\r\n)\d{10}\r\n\$\d\r\n\d{1,6}(?=\r\n)",
    re.DOTALL,
)


class Line(Protocol):
    """A connection to one of the sides."""

    def exchange(self, data: bytes, last: bytes) -> bytes:
        """Send bytes, and return what comes up to a line with these last words, or up to the connection's end."""

    def last_words(self, data: bytes) -> bytes:
        """Send bytes, end this way of the connection, and return what comes up to its other end."""

    def close(self) -> None:
        """Hang up."""


class Process(Protocol):
    """A real server or sentinel."""

    port: int


class RealLine:
    """A connection to the real server."""

    def __init__(self, server: Process) -> None:
        self._socket = socket.create_connection((HOST, server.port), _PATIENCE)

    def exchange(self, data: bytes, last: bytes) -> bytes:
        heard = b""
        try:
            self._socket.sendall(data)
            while not heard.endswith(last + b"\r\n"):
                part = self._socket.recv(_READ)
                if not part:
                    return heard + CLOSED
                heard += part
        except (ConnectionResetError, BrokenPipeError):
            return heard + CLOSED
        return heard

    def last_words(self, data: bytes) -> bytes:
        self._socket.sendall(data)
        self._socket.shutdown(socket.SHUT_WR)
        heard = b""
        while part := self._socket.recv(_READ):
            heard += part
        return heard

    def close(self) -> None:
        self._socket.close()


class ModelLine:
    """A connection to the model. Its bytes come in two parts, which may make no difference."""

    def __init__(self, server: Endpoint, random: Random) -> None:
        self._heard: list[bytes] = []
        self._random = random
        self._closed = False
        self._connection = server.connect(self._heard.append, self._end)

    def _end(self) -> None:
        self._closed = True

    def exchange(self, data: bytes, last: bytes) -> bytes:
        cut = self._random.randrange(len(data) + 1)
        self._connection.feed(data[:cut])
        self._connection.feed(data[cut:])
        heard = b"".join(self._heard) + (CLOSED if self._closed else b"")
        self._heard.clear()
        return heard

    def last_words(self, data: bytes) -> bytes:
        return self.exchange(data, b"").removesuffix(CLOSED)

    def close(self) -> None:
        self._connection.lost()


class Sides:
    """Connections to both, of the same numbers. One that is closed by a server is replaced by a new one.

    `places` has the two servers for each connection.
    """

    def __init__(self, places: Sequence[tuple[Process, Endpoint]]) -> None:
        self._places = places
        self._random = Random(7)
        self._pairs = [self._pair(number) for number in range(len(places))]
        self._serial = count(1)

    def _pair(self, number: int) -> tuple[Line, Line]:
        real, model = self._places[number]
        return RealLine(real), ModelLine(model, self._random)

    def _renew(self, number: int) -> None:
        for line in self._pairs[number]:
            line.close()
        self._pairs[number] = self._pair(number)

    def last_words(self, number: int, data: bytes) -> tuple[bytes, bytes]:
        """Send bytes on a connection, and hang up. Return what the real server and the model say to them."""
        real, model = (line.last_words(data) for line in self._pairs[number])
        self._renew(number)
        return real, model

    def close(self) -> None:
        """Hang up everywhere."""
        for pair in self._pairs:
            for line in pair:
                line.close()

    def step(self, number: int, data: bytes) -> tuple[bytes, bytes]:
        """Send bytes on a connection. Return what the real server and the model say then, on all connections."""
        heard: tuple[list[bytes], list[bytes]] = ([], [])
        order = [number, *(other for other in range(len(self._pairs)) if other != number)]
        for turn in order:
            echo = b"echo%d." % next(self._serial)
            # Replies may have been turned off by what was sent before.
            sent = (data if turn == number else b"") + pack(("CLIENT", "REPLY", "ON")) + pack(("PING", echo))
            for line, said in zip(self._pairs[turn], heard, strict=True):
                said.append(line.exchange(sent, echo))
            if any(said[-1].endswith(CLOSED) for said in heard):
                self._renew(turn)
        return b"\n".join(heard[0]), b"\n".join(heard[1])


def alike(one: bytes, other: bytes) -> bool:
    """Return whether two servers have said the same, but for times, which may differ a little."""
    one, other = _OWN.sub(b"", one), _OWN.sub(b"", other)
    if one == other:
        return True
    if _TIME.sub(b"", one) != _TIME.sub(b"", other):
        return False
    pairs = zip(_TIME.findall(one), _TIME.findall(other), strict=True)
    return all(_near(int(first), int(second)) for first, second in pairs)


def _near(first: int, second: int) -> bool:
    if max(first, second) >= EXACT:
        return first == second
    return abs(first - second) <= _SECONDS * (1_000_000 if first >= _MICROSECONDS else 1000)
