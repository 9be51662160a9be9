"""A user's connections, one after the other."""

from random import Random
from typing import Any

import anyio
import pytest

from relay.tools.torture.client_driver import STALL_SECONDS, ClientDriver, Stage
from relay.tools.torture.history import History, Kind
from relay.tools.torture.json_client import JsonClient
from relay.tools.torture.text_client import TextClient
from relay.tools.torture.user_moves import Move

pytestmark = pytest.mark.anyio

WELCOME = (
    b'{"type":"welcome","v":1,"name":"ann","token":"t1","resumed":false,"grace":8,"window":256,'
    b'"window_bytes":1048576,"ping":30,"node":"n1"}\n'
)


class Wire:
    """A node that welcomes the client and disconnects. Closing takes until second 9."""

    def __init__(self, stage: "OneVisit") -> None:
        self._stage = stage
        self._words = [WELCOME]

    async def send(self, data: bytes) -> None:
        """Drop the data."""

    async def receive(self) -> bytes:
        if not self._words:
            raise anyio.EndOfStream
        return self._words.pop()

    async def aclose(self) -> None:
        self._stage.now = 9.0
        self._stage.over = True


class OneVisit(Stage):
    """A stage that is over after one connection, which ended at second 3."""

    def __init__(self) -> None:
        super().__init__([("nowhere", 0)], lambda: self.now, 8.0)
        self.now = 3.0

    async def dial(self, user: Any, node: int) -> Any:
        return Wire(self)


async def test_a_connection_has_ended_when_nothing_more_is_said_however_long_it_takes_to_close() -> None:
    history = History()
    user = JsonClient("ann", Kind.PROGRAM, history, Random(1), ["ann"])
    await ClientDriver(user, OneVisit(), Random(1)).run()
    (connection,) = history.sessions[0].connections
    assert connection.span.ended == 3.0


class Sleeper(TextClient):
    """A person who reads nothing for a while, and again, before it hangs up."""

    def __init__(self, history: History) -> None:
        super().__init__("pat", history, Random(1))
        self.moves = [Move.STALL, Move.STALL, Move.CUT]

    def act(self, at: float) -> tuple[bytes, Move]:
        return b"", self.moves.pop(0)


class Silence(Wire):
    """A node that gives the name and says nothing more."""

    def __init__(self, stage: "OneVisit") -> None:
        super().__init__(stage)
        self._words = [b"OK\n"]

    async def receive(self) -> bytes:
        if not self._words:
            await anyio.sleep_forever()
        return await super().receive()

    def harden(self) -> None:
        """Do nothing: the end of this connection is the end of the test."""


class Acting(OneVisit):
    """A stage on which nobody waits before a move."""

    def __init__(self) -> None:
        super().__init__()
        self.acting, self.calm = True, 0.0

    async def dial(self, user: Any, node: int) -> Any:
        return Silence(self)


async def test_the_time_in_which_a_person_reads_nothing_is_in_the_history() -> None:
    history = History()
    await ClientDriver(Sleeper(history), Acting(), Random(1)).run()
    (session,) = history.sessions
    (span,) = session.stalls
    assert span.began == 3.0
    assert 3.0 + STALL_SECONDS[0] <= span.ended <= 3.0 + STALL_SECONDS[1]
