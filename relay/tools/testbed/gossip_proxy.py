"""Stands before the ports on which the servers of a cluster talk to each other, and cuts one of them off.

A server of a cluster dials every other one, and says in each packet who it is. So what it says on its own links is
found at the others' ports.
"""

from typing import Final

import anyio
import anyio.abc
from anyio.abc import ByteStream, TaskStatus

from relay.tools.testbed.process import HOST

# A packet begins with a signature, lengths and epochs; then comes the id of its sender.
_SENDER: Final = slice(40, 80)
READ_BYTES: Final = 65_536
_BROKEN: Final = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


class Gossip:
    """The ports before those of the servers, `ports`, in their order. `run` has to run before they are used."""

    def __init__(self, buses: list[int]) -> None:
        self._buses = buses
        self.ports: list[int] = []
        self._cut: tuple[int, bytes] | None = None  # the server that is cut off: its number, and its id
        self._whole = anyio.Event()
        self._whole.set()
        self._open: set[anyio.CancelScope] = set()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Pass everything on until cancelled."""
        async with anyio.create_task_group() as tasks:
            for number in range(len(self._buses)):
                listener = await anyio.create_tcp_listener(local_host=HOST)
                self.ports.append(listener.extra(anyio.abc.SocketAttribute.local_port))
                tasks.start_soon(self._listen, listener, number)
            task_status.started()

    async def _listen(self, listener: anyio.abc.Listener[ByteStream], number: int) -> None:
        async def serve(front: ByteStream) -> None:
            await self._serve(front, number)

        async with listener:
            await listener.serve(serve)

    def cut(self, number: int, id: str) -> None:
        """Let nothing pass to or from that server, and tell nobody."""
        self._cut, self._whole = (number, id.encode()), anyio.Event()

    def heal(self) -> None:
        """Let everything pass again; what was connected meanwhile is connected anew, as after any long silence."""
        self._cut = None
        self._whole.set()
        for scope in self._open:
            scope.cancel()

    async def _serve(self, front: ByteStream, number: int) -> None:
        with anyio.CancelScope() as scope:
            self._open.add(scope)
            try:
                async with front, await anyio.connect_tcp(HOST, self._buses[number]) as back:
                    first = await front.receive(READ_BYTES)
                    ends = (number, first[_SENDER])
                    await self._pass(ends, first, back)
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(self._pump, front, back, ends, scope)
                        tasks.start_soon(self._pump, back, front, ends, scope)
            except _BROKEN:
                pass  # one of the two is away
            finally:
                self._open.discard(scope)

    async def _pump(
        self, source: ByteStream, sink: ByteStream, ends: tuple[int, bytes], scope: anyio.CancelScope
    ) -> None:
        try:
            while True:
                await self._pass(ends, await source.receive(READ_BYTES), sink)
        except _BROKEN:
            scope.cancel()

    async def _pass(self, ends: tuple[int, bytes], data: bytes, sink: ByteStream) -> None:
        number, sender = ends
        if self._cut is not None and (self._cut[0] == number or self._cut[1] == sender):
            await self._whole.wait()
        await sink.send(data)
