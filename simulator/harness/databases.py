"""Servers of Redis as processes on the virtual network: the model does the work, this does the I/O."""

import asyncio
from typing import Any, Final, cast

from simulator.network import Host
from simulator.process import Process
from simulator.redis import ClientConnection, Server, Snapshot
from simulator.world import World

PORT: Final = 6379
TICK_SECONDS: Final = 0.1
BACKLOG: Final = 511


class _Door(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._client: ClientConnection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have the server accept the connection."""
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.alive:
            self._transport.abort()
            return
        host, port = transport.get_extra_info("peername")[:2]
        self._client = self._server.connect(
            self._transport.write, self._transport.close, f"{host}:{port}", self._transport.get_write_buffer_size
        )

    def data_received(self, data: bytes) -> None:
        """Hand over what has come."""
        if self._client is not None:
            self._client.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the server."""
        if self._client is not None:
            self._client.lost()


class Database:
    """A server that keeps its address over all restarts."""

    def __init__(self, world: World, name: str, host: Host) -> None:
        self.host = host
        self.name = name
        self.server = Server(host.clock.time_of_day, world.stream(f"redis {name}"), host=host.addresses[0], port=PORT)
        self.process: Process | None = None
        self._starts = 0

    @property
    def url(self) -> str:
        """The URL that nodes are given."""
        return f"redis://{self.host.addresses[0]}:{PORT}"

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.alive

    def start(self, snapshot: Snapshot | None = None) -> None:
        """Start it, with the data of a snapshot or none. It must not be running."""
        assert not self.alive, "it is running"
        self._starts += 1
        if not self.server.alive:
            self.server.restart(snapshot)
        self.process = process = self.host.process(f"{self.name}.{self._starts}")
        process.start(self._serve)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        listening: Any = await loop.create_server(
            lambda: _Door(self.server), self.host.addresses[0], PORT, backlog=BACKLOG
        )
        async with listening:
            while True:
                await asyncio.sleep(TICK_SECONDS)
                self.server.tick()

    def kill(self) -> None:
        """End it at once, with its data (SIGKILL)."""
        if self.process is not None and self.process.alive:
            self.process.kill()
            self.server.kill()

    def freeze(self) -> None:
        """Stop it (SIGSTOP): the system goes on taking connections and bytes for it."""
        if self.process is not None:
            self.process.pause()

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        if self.process is not None:
            self.process.resume()
