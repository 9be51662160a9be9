"""The connections of a worker of the load generator."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from relay.tools.bench.client_dialects import speech
from relay.tools.bench.pair import Pair, Stage
from relay.tools.bench.worker import _Refused, _Wire  # private: a worker is a process, which shows only its reports

pytestmark = pytest.mark.anyio


class Transport(asyncio.Transport):
    """A transport that refuses to write once it is closed, as uvloop's does."""

    gone = False

    def write(self, data: Any) -> None:
        if self.gone:
            raise RuntimeError("the handler is closed")


async def test_a_user_whose_connection_is_lost_is_refused_and_writes_no_more() -> None:
    pair = Pair(0, "t", speech("json", acks=False), in_flight=1, answers=True)
    wire, transport = _Wire(pair.sender, cast(Any, SimpleNamespace(over=False)), pair, None), Transport()
    wire.connection_made(transport)
    wire.write(b"hello\n")
    transport.gone = True
    wire.connection_lost(None)
    with pytest.raises(_Refused, match="connection lost"):
        await wire.ask(b"call\n", Stage.PAIRED)
