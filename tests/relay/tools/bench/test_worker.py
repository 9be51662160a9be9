"""The connections of a worker of the load generator."""

import asyncio
import subprocess
import sys
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from websockets.frames import Frame, Opcode

from relay.tools.bench import worker
from relay.tools.bench.client_dialects import speech
from relay.tools.bench.pair import Pair, Stage
from relay.tools.bench.run_settings import Job, RunSettings, Target
from relay.tools.bench.worker import _Refused, _Wire  # private: a worker is a process, which shows only its reports
from relay.tools.testbed.web_lines import WebLines
from tests.relay.tools.testbed.test_web_lines import answer
from tests.support.process import PATIENCE

pytestmark = pytest.mark.anyio


class Transport(asyncio.Transport):
    """A transport that refuses to write once it is closed, as uvloop's does."""

    gone = False

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self._more = asyncio.Event()

    def write(self, data: Any) -> None:
        if self.gone:
            raise RuntimeError("the handler is closed")
        self.written.append(bytes(data))
        self._more.set()

    async def wrote(self, count: int) -> None:
        """Wait until there were this many writes."""
        while len(self.written) < count:
            self._more.clear()
            await self._more.wait()


def sender(web: WebLines | None = None) -> tuple[_Wire, Transport]:
    """The connection of a user who calls, made a moment ago."""
    pair = Pair(0, "t", speech("json", acks=False), in_flight=1, answers=True)
    run = SimpleNamespace(over=False, moved=lambda _: None)
    wire, transport = _Wire(pair.sender, cast(Any, run), pair, web), Transport()
    wire.connection_made(transport)
    return wire, transport


async def test_a_user_whose_connection_is_lost_is_refused_and_writes_no_more() -> None:
    wire, transport = sender()
    wire.write(b"hello\n")
    transport.gone = True
    wire.connection_lost(None)
    with pytest.raises(_Refused, match="connection lost"):
        await wire.ask(b"call\n", Stage.PAIRED)
    wire.close()


async def test_a_request_that_a_node_puts_off_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "AGAIN_SECONDS", 0.0)
    wire, transport = sender()
    answers = [
        b'{"type":"error","code":"unavailable","message":"later"}\n',
        b'{"type":"welcome","v":1,"name":"al","token":"t","window":9}\n',
    ]
    async with asyncio.timeout(PATIENCE):
        asked = asyncio.create_task(wire.ask(b"hello\n", Stage.FREE))
        for count, words in enumerate(answers, 1):
            await transport.wrote(count)
            wire.data_received(words)
        await asked
    assert transport.written == [b"hello\n"] * 2


async def test_a_node_that_speaks_no_websocket_refuses_the_user() -> None:
    wire, _ = sender(WebLines("localhost", 1))
    wire.data_received(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(_Refused, match="no WebSocket"):
            await wire.opened()


async def test_a_node_that_pings_is_answered() -> None:
    web = WebLines("localhost", 1)
    wire, transport = sender(web)
    (handshake,) = transport.written
    wire.data_received(answer(handshake))
    await wire.opened()
    assert transport.written == [handshake]
    wire.data_received(Frame(Opcode.PING, b"x").serialize(mask=False))
    assert [data[0] for data in transport.written[1:]] == [0x80 | Opcode.PONG]


def test_a_worker_whose_run_is_given_up_before_the_load_ends_by_itself() -> None:
    job = Job(RunSettings(), Target((("127.0.0.1", 1),)), "t", ())
    command = [sys.executable, "-P", "-m", "relay.tools.bench.worker"]
    done = subprocess.run(command, input=msgspec.json.encode(job) + b"\n", capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert isinstance(msgspec.json.decode(done.stdout, type=worker.Report), worker.Ready)
