"""Makes small programs of two protocols that talk over one connection: combinations of who does what, and how.

The client and the server are in one process. What is noted down is what asyncio promises of a connection: the order of
the calls of each protocol, all bytes in order, and what `connection_lost` is told. Where a stream is cut is no promise,
so bytes are counted until something else happens.
"""

import asyncio
import hashlib
import socket
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.simulator.both import Notes

# More than a transport and small buffers of both kernels take, so that it becomes full.
FULL = 130_000


class Plan(NamedTuple):
    """What happens on a connection."""

    size: int  # bytes that each side sends
    pieces: int  # writes that they are sent in
    kind: str  # of protocols: "plain" or "buffered"
    first: str  # who sends first: "client", "server" or "both"
    end: str  # see `ENDS`
    paused: bool  # the receiver doesn't read until the sender's transport is full


class Side(asyncio.BaseProtocol):
    """Notes down what happens to one end of a connection."""

    def __init__(self, name: str, notes: Callable[..., None], keeps_open: bool) -> None:
        self.name, self.lines, self.keeps_open = name, list[str](), keeps_open
        self.notes = notes
        self.wanted = 0
        self.hash = hashlib.sha256()
        self.count = self.total = 0
        self.transport: Any = None
        self.made, self.lost, self.ended, self.full, self.all_here = (asyncio.Event() for _ in range(5))

    def say(self, what: str) -> None:
        """Note something down, after the bytes that came before it."""
        if self.count:
            self.lines.append(f"{self.name} has {self.count} bytes {self.hash.hexdigest()[:8]}")
            self.count = 0
        self.lines.append(f"{self.name} {what}")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.say("connection_made")
        self.made.set()

    def took(self, data: bytes) -> None:
        """Count bytes."""
        self.hash.update(data)
        self.count += len(data)
        self.total += len(data)
        if self.total == self.wanted:
            self.all_here.set()

    def eof_received(self) -> bool:
        self.say("eof_received")
        self.ended.set()
        return self.keeps_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.say(f"connection_lost {type(exc).__name__} {self.transport.is_closing()}")
        self.lost.set()

    def pause_writing(self) -> None:
        self.say("pause_writing")
        self.full.set()

    def resume_writing(self) -> None:
        self.say("resume_writing")


class PlainSide(Side, asyncio.Protocol):
    """Is handed bytes."""

    def data_received(self, data: bytes) -> None:
        self.took(data)


class BufferedSide(Side, asyncio.BufferedProtocol):
    """Has bytes put into its buffer."""

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.buffer = bytearray(1000)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.took(bytes(self.buffer[:nbytes]))


KINDS = {"plain": PlainSide, "buffered": BufferedSide}


async def close(first: Side, second: Side) -> None:
    """The first closes; the second is told of the end, and its transport closes itself."""
    first.transport.close()
    first.transport.close()
    assert first.transport.is_closing()


async def half_close(first: Side, second: Side) -> None:
    """The first ends its side; the second still sends something, and closes."""
    second.keeps_open = True
    first.transport.write_eof()
    await second.ended.wait()
    second.transport.write(b"hello")
    second.transport.close()


async def half_close_unheeded(first: Side, second: Side) -> None:
    """The first ends its side; the second doesn't keep the connection open."""
    first.transport.write_eof()


async def abort(first: Side, second: Side) -> None:
    """The first aborts, with all read: the second can't tell it from a close."""
    first.transport.abort()
    first.transport.abort()


async def reset(first: Side, second: Side) -> None:
    """The first resets the connection."""
    sock = first.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    first.transport.abort()


async def close_before_reading(first: Side, second: Side) -> None:
    """The first closes with bytes unread, which resets the connection."""
    first.transport.pause_reading()
    second.transport.write(b"in vain")
    while True:  # nothing tells when bytes are in a kernel's buffer
        try:
            # private: a transport of asyncio hides its socket
            first.transport._sock.recv(1, socket.MSG_PEEK)
            break
        except BlockingIOError:
            await asyncio.sleep(0.001)
    first.transport.close()


async def write_and_close(first: Side, second: Side) -> None:
    """The first writes something, and closes: all of it still arrives."""
    first.transport.write(b"z" * 200_000)
    first.transport.close()


ENDS = {
    "close": close,
    "half close": half_close,
    "half close unheeded": half_close_unheeded,
    "abort": abort,
    "reset": reset,
    "close before reading": close_before_reading,
    "write and close": write_and_close,
}


async def send(plan: Plan, sender: Side, receiver: Side) -> None:
    """Send all bytes one way, and wait until they are there."""
    if not plan.size:
        return
    receiver.wanted = plan.size
    if plan.paused:
        receiver.transport.pause_reading()
    for index in range(plan.pieces):
        piece = bytes([index]) * (plan.size // plan.pieces)
        sender.transport.writelines([piece]) if index % 2 else sender.transport.write(piece)
    if plan.paused:
        await sender.full.wait()
        receiver.transport.resume_reading()
    await receiver.all_here.wait()
    receiver.say("has all")


def small_buffers(sock: Any) -> None:
    """Have a socket's kernel take little, so that transports become full."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)


async def program(notes: Notes, plan: Plan, swapped: bool) -> None:
    """Connect, send both ways, and end the connection as planned. `swapped`: the server does what the client would."""
    loop = asyncio.get_running_loop()
    kind = KINDS[plan.kind]
    server, client = kind("server", notes, False), kind("client", notes, False)
    port = notes.make_socket()
    small_buffers(port)
    port.bind(("127.0.0.1", 0))
    listener = await loop.create_server(lambda: server, sock=port)
    ours = notes.make_socket()
    small_buffers(ours)
    await loop.sock_connect(ours, port.getsockname())
    _, found = await loop.create_connection(lambda: client, sock=ours)
    assert found is client
    await server.made.wait()
    notes(server.transport.get_extra_info("peername") == client.transport.get_extra_info("sockname"))
    match plan.first:
        case "client":
            await send(plan, client, server)
            await send(plan, server, client)
        case "server":
            await send(plan, server, client)
            await send(plan, client, server)
        case _:
            await asyncio.gather(send(plan, client, server), send(plan, server, client))
    await ENDS[plan.end](*((server, client) if swapped else (client, server)))
    await asyncio.gather(client.lost.wait(), server.lost.wait())
    listener.close()
    await listener.wait_closed()
    for side in (client, server):
        notes(*side.lines)


def plans() -> list[Plan]:
    """Return the combinations that mean something different."""
    sizes = ((0, 1), (1, 1), (3000, 3), (FULL, 2))
    found = [
        Plan(size, pieces, kind, first, end, paused)
        for size, pieces in sizes
        for kind in KINDS
        for first in ("client", "server", "both")
        for end in ENDS
        for paused in (False, True)
        if (size == FULL) is paused and not (paused and first == "both") and (size or first == "client")
    ]
    return [plan for plan in found if plan.size != 1 or plan.first == "both"]
