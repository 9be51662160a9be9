"""A client of the model for tests: it speaks RESP without a network in between."""

from random import Random
from typing import Any

import hiredis

from relay.redis_client.dialing import pack
from simulator.redis import Server
from simulator.redis.endpoint import Endpoint

NOW = 1_796_064_714.25  # seconds since 1970, when the tests' clocks begin


class Clock:
    """A wall clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Client:
    """A connection to a server, with what the server has said on it."""

    def __init__(self, server: Endpoint) -> None:
        self.raw = b""  # since the last `ask`
        self.closed = False
        self.unsent = 0
        self._reader = hiredis.Reader()
        self.connection = server.connect(self._heard, self._end, "10.0.0.9:4711", lambda: self.unsent)

    def _heard(self, data: bytes) -> None:
        assert not self.closed, "the server speaks after it has hung up"
        self.raw += data
        self._reader.feed(data)

    def _end(self) -> None:
        self.closed = True

    def ask(self, *words: str | bytes | int) -> Any:
        """Send a command, and return the only reply. Refusals are exceptions of hiredis."""
        self.say(*words)
        (reply,) = self.heard()
        return reply

    def say(self, *words: str | bytes | int) -> None:
        """Send a command."""
        self.raw = b""
        self.connection.feed(pack(words))

    def heard(self) -> list[Any]:
        """Return all replies and messages that have come since the last call."""
        replies = []
        while (reply := self._reader.gets()) is not False:
            replies.append(reply)
        return replies


def refusal(reply: object) -> str:
    """Return the words of a refusal."""
    assert isinstance(reply, hiredis.ReplyError), reply
    return str(reply)


def new_server(clock: Clock | None = None, seed: int = 1, port: int = 6379) -> Server:
    """Return a server without data."""
    return Server(clock or Clock(), Random(seed), port=port)
