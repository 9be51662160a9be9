"""Clients that mean harm. Whatever they do, nobody else may be disturbed by it."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from random import Random
from typing import Final

import anyio

from relay.tools.testbed.user_connection import BROKEN, Address, UserConnection, dial
from relay.tools.testbed.web_lines import NoWebSocket
from simulator.harness.seams import run_by_anyio

# How long one of them holds its connection, at most.
HOLD_SECONDS: Final = (0.1, 6.0)
FLOOD_LINES: Final = 400  # that one of them sends without reading anything
LONG_BYTES: Final = 200_000
# What begins well and goes on no more.
_HALVES: Final = (
    b"",
    b"a",
    b"{",
    b'{"type":"hello","name":"evil',
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    b"\x16\x03\x01\x02\x00\x01",  # the begin of TLS
    b'{"type":"hello","name":"evil","token":"' + b"A" * 43 + b'"}\n',
)
# What a program may send without end.
_FLOODS: Final = (
    b'{"type":"ping"}\n',
    b'{"type":"who","name":"u0"}\n',
    b'{"type":"to","name":"nobody"}\n',
    b'{"type":"msg","id":1,"text":"to nobody"}\n',
    b'{"type":"ack","id":9007199254740993,"chat":"none"}\n',
    b'{"type":"hello","name":"evil"}\n',
    b'{"type":"leave"}\n',
    b"{}\n",
    b"\xff\xfe\n",
    b"\n",
)

Deed = Callable[[UserConnection, Random], Awaitable[None]]


async def _garbage(wire: UserConnection, rng: Random) -> None:
    """Send bytes that mean nothing."""
    for _ in range(rng.randint(1, 10)):
        await wire.send(rng.randbytes(rng.randint(1, 2000)))
        await anyio.sleep(rng.uniform(0.0, 0.2))


async def _half(wire: UserConnection, rng: Random) -> None:
    """Begin something, and say nothing more."""
    await wire.send(rng.choice(_HALVES))


async def _long(wire: UserConnection, rng: Random) -> None:
    """Send a line that has no end."""
    await wire.send(rng.choice((b"", b'{"type":"hello","name":"')) + b"x" * rng.randint(1, LONG_BYTES))


async def _flood(wire: UserConnection, rng: Random) -> None:
    """Claim a name, send much, and read nothing of what comes back."""
    await wire.send(b'{"type":"hello","name":"evil%d"}\n' % rng.randrange(1000))
    for _ in range(rng.randint(1, 4)):
        await wire.send(b"".join(rng.choices(_FLOODS, k=rng.randint(1, FLOOD_LINES))))


async def _drip(wire: UserConnection, rng: Random) -> None:
    """Send a claim byte by byte, and be gone before its end is read."""
    for byte in b'{"type":"hello","name":"evil%d"}\n' % rng.randrange(1000):
        await wire.send(bytes((byte,)))
        await anyio.sleep(rng.uniform(0.0, 0.05))


_DEEDS: Final[tuple[Deed, ...]] = (_garbage, _half, _long, _flood, _drip)


async def attack(address: Address, rng: Random) -> None:
    """Do some harm on one connection, and end or reset it after a while."""
    run_by_anyio()
    deed, web = rng.choice(_DEEDS), rng.random() < 0.3
    wire = await dial(address, web=web)
    if wire is None:
        return
    with anyio.move_on_after(rng.uniform(*HOLD_SECONDS)), suppress(*BROKEN, NoWebSocket):
        if web and rng.random() < 0.5:
            wire = UserConnection(wire.stream, lambda _arrow, _data: None)  # it says no frames after the handshake
        await deed(wire, rng)
        if rng.random() < 0.5:
            while True:
                await wire.receive()
        await anyio.sleep_forever()
    if rng.random() < 0.5:
        wire.harden()
    with anyio.CancelScope(shield=True):
        async with aclosing(wire):
            pass
