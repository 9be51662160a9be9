"""A proxy between one node and the server, which acts as a network that can be cut or slowed."""

from typing import Final

import anyio
import anyio.abc
from anyio.abc import ByteStream, TaskStatus

_SUBSCRIBE: Final = b"SUBSCRIBE"
_BROKEN: Final = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


class _Line:
    """One connection through the proxy."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.subscriber = False
        self.swallowed = False


class RedisProxy:
    """Listens on a port of the loopback interface and forwards to the server."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target  # the server of new connections
        self._lines: set[_Line] = set()
        self._open = anyio.Event()
        self._open.set()
        self.port = 0  # known once `run` has started it
        self.delay = 0.0  # seconds by which all data is late, in each direction

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Forward everything until cancelled."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with listener:
            self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
            task_status.started()
            await listener.serve(self._serve)

    def hold(self) -> None:
        """Hold everything back in both directions, also on new connections, without closing any."""
        if self._open.is_set():
            self._open = anyio.Event()

    def release(self, *, cut: bool) -> None:
        """Let everything pass again. With `cut`, close all connections, as many networks do."""
        self._open.set()
        if cut:
            for line in self._lines:
                line.scope.cancel()

    def deafen(self) -> None:
        """Drop all further data from the server to the current subscribers, as on a half-open connection."""
        for line in self._lines:
            line.swallowed = line.subscriber

    async def _serve(self, front: ByteStream) -> None:
        line = _Line()
        self._lines.add(line)
        try:
            with line.scope:
                async with front, await anyio.connect_tcp(*self.target) as back, anyio.create_task_group() as tasks:
                    tasks.start_soon(self._pump, front, back, line, True)
                    tasks.start_soon(self._pump, back, front, line, False)
        except OSError:
            pass  # the server is away, so the connection ends too
        finally:
            self._lines.discard(line)

    async def _pump(self, source: ByteStream, sink: ByteStream, line: _Line, forth: bool) -> None:
        try:
            while True:
                data = await source.receive()
                line.subscriber = line.subscriber or (forth and _SUBSCRIBE in data)
                await self._open.wait()
                if self.delay:
                    await anyio.sleep(self.delay)
                if forth or not line.swallowed:
                    await sink.send(data)
        except _BROKEN:
            # The other side notices the end when the network is back, and never on a half-open connection.
            await self._open.wait()
            if not forth and line.swallowed:
                await anyio.sleep_forever()
            line.scope.cancel()
