"""A proxy for the cluster bus ports of all servers of a cluster, which can isolate one server from the others.

A server connects to every other one, and each packet has its sender's id. The packets of an isolated server can
therefore be recognized at the other servers' ports.
"""

from typing import Final

import anyio
import anyio.abc
from anyio.abc import ByteStream, TaskStatus

from relay.tools.testbed.process import HOST

# A packet begins with a signature, lengths and epochs, which the sender's id follows.
_SENDER: Final = slice(40, 80)
READ_BYTES: Final = 65_536
_BROKEN: Final = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


class Gossip:
    """Listens on `ports`, one for each server's bus port in the same order, while `run` runs."""

    def __init__(self, buses: list[int]) -> None:
        self._buses = buses
        self.ports: list[int] = []
        self._cut: tuple[int, bytes] | None = None  # the isolated server's number and id
        self._whole = anyio.Event()
        self._whole.set()
        self._open: set[anyio.CancelScope] = set()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Forward everything until cancelled."""
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
        """Hold back everything to or from this server, without closing connections."""
        self._cut, self._whole = (number, id.encode()), anyio.Event()

    def heal(self) -> None:
        """Let everything pass again, and close all connections, as happens after any long silence."""
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
                pass  # one of the two servers is down
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
