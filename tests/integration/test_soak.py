"""A node after hundreds of thousands of short sessions is no larger than after half of them."""

import itertools
import json
import os
import socket
import statistics
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from tests.integration.conftest import StartNode
from tests.support.node import Node

pytestmark = pytest.mark.anyio

SESSIONS = int(os.environ.get("SOAK", "200000"))  # sessions of each dialect
AT_ONCE = 64
SAMPLES = 200
GROWTH = 4 * 1024 * 1024  # growth in bytes during the second half
BLOCKED = 64  # names
GRACE = 10  # seconds; some return within it on a busy machine, and some never do
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset
DIALECTS = ["text", "json", "classic"]
PATIENCE = 60.0  # seconds for one answer


class TurnedAway(Exception):
    """The machine is busy, so a call took too long, or a program came back too late. The visit is repeated."""


TURNED_AWAY = (b"Not possible right now", b'"unavailable"', b'"bad_token"')


class Visitor:
    """A connection from one of many addresses."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._received = b""
        self._gone = False

    async def says(self, *lines: bytes, end: bytes = b"\n") -> None:
        await self._stream.send(b"".join(line + end for line in lines))

    async def hears(self, *words: bytes) -> bytes:
        """Read until one of these has come."""
        with anyio.move_on_after(PATIENCE):
            while not any(word in self._received for word in words):
                self._received += await self._stream.receive()
                if any(word in self._received for word in TURNED_AWAY):
                    raise TurnedAway
        assert any(word in self._received for word in words), self._received
        received, self._received = self._received, b""
        return received

    async def ends(self) -> None:
        """Read to the end."""
        with anyio.fail_after(PATIENCE), suppress(anyio.EndOfStream):
            while True:
                await self._stream.receive()
        self._gone = True
        await self._stream.aclose()

    async def vanishes(self) -> None:
        """Drop the connection, if it is still there."""
        if not self._gone:
            self._gone = True
            sock: socket.socket = self._stream.extra(SocketAttribute.raw_socket)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            await self._stream.aclose()


class Visit:
    """Some connections, one after the other. Those that are left at the end are dropped."""

    def __init__(self, address: tuple[str, int], number: int) -> None:
        self.number = number
        self._address = address
        self._visitors: list[Visitor] = []

    async def comes(self) -> Visitor:
        own = f"127.1.{self.number // 250 % 250}.{self.number % 250 + 1}"
        self._visitors.append(Visitor(await anyio.connect_tcp(*self._address, local_host=own)))
        return self._visitors[-1]

    async def over(self) -> None:
        for visitor in self._visitors:
            await visitor.vanishes()


Act = Callable[[Visit, int], Awaitable[None]]


def frame(type: str, **fields: object) -> bytes:
    return json.dumps({"type": type} | fields).encode()


async def person(visit: Visit, number: int) -> None:
    """Have two people meet and end in one of many ways."""
    ann, ben = await visit.comes(), await visit.comes()
    for one, name in ((ann, f"a{number}"), (ben, f"b{number}")):
        await one.says(name.encode())
        await one.hears(b"OK")
    await ann.says(f"To:b{number}".encode())
    await ann.hears(b"You are chatting with")
    await ann.says(b"hi", b"x" * 3000)
    await ben.hears(b"xxx)")
    way = number // 2 % 4
    if way == 0:
        await ann.says(b"Quit")
        await ann.ends()
        await ben.hears(b"Quit.")
    elif way == 1:
        await ann.says(b"half a line", end=b"")
        await ann.vanishes()
    elif way == 2:
        await ann.says(b"Quit", b"To:nobody")
        await ann.ends()
    else:
        await ann.vanishes()


async def classic(visit: Visit, number: int) -> None:
    """Do the same without line ends; the caller gets no lines."""
    ann, ben = await visit.comes(), await visit.comes()
    for one, name in ((ann, f"a{number}"), (ben, f"b{number}")):
        await one.says(name.encode(), end=b"")
        await one.hears(b"OK")
    await ann.says(f"To:zoe{number}".encode(), end=b"")
    await ann.hears(b"not exist")
    if number // 2 % 2:
        await ann.says(b"Quit", end=b"")
        await ann.ends()
    else:
        await ann.vanishes()


async def program(visit: Visit, number: int) -> None:
    """Have two programs block others, chat, and come back, quit, or stay away."""
    ann, ben = await visit.comes(), await visit.comes()
    await ann.says(frame("hello", name=f"a{number}"))
    token = json.loads((await ann.hears(b"\n")).splitlines()[0])["token"]
    await ben.says(frame("hello", name=f"b{number}", acks=True))
    await ben.hears(b"welcome")
    await ann.says(*(frame("block", name=f"x{other}") for other in range(BLOCKED)), frame("ping"))
    await ann.hears(b"pong")
    await ann.says(frame("to", name=f"b{number}"))
    chat = json.loads(next(line for line in (await ann.hears(b"paired")).splitlines() if b"paired" in line))["chat"]
    await ann.says(frame("msg", id=1, text="hi"))
    await ben.hears(b'"text":"hi"')
    await ben.says(frame("ack", id=1))
    await ann.hears(b'"ack"')
    way = number // 2 % 4
    if way < 2:
        await ann.vanishes()
        ann = await visit.comes()
        await ann.says(frame("hello", name=f"a{number}", token=token, chat=chat, sent=1, last=0))
        await ann.hears(b'"resumed":true')
    if way % 2:
        await ann.says(frame("leave"), frame("quit"))
        await ann.ends()
    else:
        await ann.vanishes()


async def nobody(visit: Visit, number: int) -> None:
    """Connect without ever sending a name."""
    one = await visit.comes()
    await one.says(b"Quit" if number % 2 else b"a b")


ACTS: dict[str, Act] = {"text": person, "json": program, "classic": classic}


async def visits(node: Node, dialect: str, numbers: Iterator[int], sizes: list[int]) -> None:
    """Make visits, one after the other, until there are enough."""
    address = node.classic_address if dialect == "classic" else node.address
    for number in numbers:
        for act in (ACTS[dialect], nobody):
            visit = Visit(address, 2 * number)
            with suppress(TurnedAway):
                await act(visit, 2 * number)
            await visit.over()
        if number % max(1, SESSIONS // 2 // SAMPLES) == 0:
            sizes.append(node.memory())


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_short_sessions_leave_nothing_behind(start_node: StartNode, dialect: str) -> None:
    node = start_node(grace=GRACE, drain=0, max_claims=0, max_calls=0, log_level="warning")
    numbers, sizes = iter(range(SESSIONS // 2)), list[int]()
    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(visits, node, dialect, numbers, sizes)
    middle, end = (statistics.median(part) for part in (sizes[len(sizes) // 2 :][:10], sizes[-10:]))
    megabytes = [round(size / 2**20, 1) for size in itertools.islice(sizes, 0, None, max(1, len(sizes) // 20))]
    assert end - middle < GROWTH, megabytes
