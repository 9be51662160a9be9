"""A TCP proxy in front of Redis. Tests can switch its target and make its connections half open."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

CHUNK = 65536  # bytes in each read
HOST = "127.0.0.1"
BACKLOG = 1024


# The commands that identify the use of a connection. The first one that a client sends counts.
USES = {"subscriber": b"SUBSCRIBE", "publisher": b"PUBLISH", "pipeline": b"EVALSHA"}
UP, DOWN = "up", "down"  # from client to server, and back


class _Pipe:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.writers = (client, server)
        self.use = ""
        self.swallows: set[str] = set()  # the directions in which data is silently dropped

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class Proxy:
    """A proxy that listens on its own port and forwards to a local port, which may change."""

    def __init__(self, port: int, delay: float = 0.0) -> None:
        """Start it. It delays all data by `delay` seconds in each direction."""
        self._target = port
        self._delay = delay
        self._pipes: set[_Pipe] = set()
        self._loop = asyncio.new_event_loop()
        self._socket = socket.create_server((HOST, 0), backlog=BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def switch(self, port: int) -> None:
        """Forward to another server from now on, and break the connections to the old one."""

        async def do() -> None:
            self._target = port
            self._cut_all()

        self._call(do)

    def lead(self, port: int) -> None:
        """Forward new connections to another server, and keep those to the old one."""

        async def do() -> None:
            self._target = port

        self._call(do)

    def deafen_subscribers(self) -> int:
        """Drop all data to the present subscribers without breaking their connections. Returns their number."""

        return self.swallow("subscriber", DOWN)

    def swallow(self, use: str, *ways: str) -> int:
        """Drop all data in these directions on the present connections of this use, without breaking them.

        Returns their number.
        """

        async def do() -> int:
            half_open = [pipe for pipe in self._pipes if pipe.use == use]
            for pipe in half_open:
                pipe.swallows.update(ways)
            return len(half_open)

        return self._call(do)

    def half_open(self) -> int:
        """Return the number of open connections that drop data."""

        async def do() -> int:
            return sum(bool(pipe.swallows) for pipe in self._pipes)

        return self._call(do)

    def stop(self) -> None:
        self._call(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._socket.close()

    # --- in the thread

    async def _close(self) -> None:
        self._server.close()
        while self._pipes:
            self._cut_all()
            await asyncio.sleep(0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._accept, sock=self._socket))
        self._loop.run_forever()

    def _call(self, do: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(do(), self._loop).result()

    def _cut_all(self) -> None:
        for pipe in self._pipes:
            pipe.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(HOST, self._target)
        except OSError:
            writer.transport.abort()
            return
        pipe = _Pipe(writer, server_writer)
        self._pipes.add(pipe)
        try:
            await asyncio.gather(self._up(pipe, reader, server_writer), self._down(pipe, server_reader, writer))
        finally:
            self._pipes.discard(pipe)

    async def _up(self, pipe: _Pipe, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                pipe.use = pipe.use or next((use for use, word in USES.items() if word in data), "")
                if UP not in pipe.swallows:
                    await self._pass_on(data, writer)
        pipe.cut()

    async def _down(self, pipe: _Pipe, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if DOWN not in pipe.swallows:
                    await self._pass_on(data, writer)
        pipe.cut()

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self._delay:
            self._loop.call_later(self._delay, writer.write, data)
        else:
            writer.write(data)
            await writer.drain()
