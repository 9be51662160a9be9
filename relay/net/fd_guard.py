"""Guards the file descriptors: ports stop accepting connections while too few descriptors are left.

When none is left, asyncio retries without end, and libuv closes new connections (seen with Python 3.11 and uvloop
0.23); neither leaves any for Redis. Ports therefore stop accepting a little earlier: new clients wait in the kernel,
and existing connections go on.
"""

import asyncio
import resource
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio

# Descriptors that are kept free: 16 for connections that the loop accepts before it checks, 16 for the HTTP port, and
# 32 for new connections to Redis and for files that are reloaded.
SPARE: Final = 64
# Ports accept again once this many more descriptors are free, so that they don't stop again at once.
RELIEF: Final = 8
# A port that couldn't be reopened is tried again after this time.
RETRY_SECONDS: Final = 1.0
# The backlog given to asyncio, which is also how many connections it accepts in one go without a check. It is less than
# SPARE.
AT_ONCE: Final = 16


def raise_limit() -> None:
    """Raise the soft limit on descriptors to the hard limit: the usual soft limit, 1,024, exists only for select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Descriptors:
    """Computes how many descriptors are left, and pauses the ports while there are too few.

    Args:
        clients: returns the number of descriptors that clients use. All others are counted once, at the start.
        met: is called whenever descriptors have become short.
    """

    def __init__(self, clients: Callable[[], int], met: Callable[[], object]) -> None:
        self.short = False
        self._met = met
        self._clients = clients
        self._others = 0
        self._ports: list[Port] = []

    def start(self, ports: "Iterable[Port]") -> None:
        """Count the open descriptors, once everything but clients is open, and guard these ports from now on."""
        self._ports = list(ports)
        self._others = _count() - self._clients()

    def pause_or_resume(self) -> None:
        """Pause or resume the ports, after a client has come or gone."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit == resource.RLIM_INFINITY:
            return
        left = limit - self._others - self._clients()
        short = left < (SPARE + RELIEF if self.short else SPARE)
        if short is not self.short and self._ports:
            self.short = short
            if short:
                self._met()
            for port in self._ports:
                port.pause() if short else port.resume()


class Port:
    """A listening socket that can be paused: new clients then wait in the kernel."""

    def __init__(self, sock: socket.socket, make: Callable[[], asyncio.BaseProtocol], backlog: int) -> None:
        self._sock, self._make, self._backlog = sock, make, backlog
        self._server: asyncio.Server | None = None
        self._paused = False
        self._resumed = anyio.Event()

    async def open(self) -> None:
        """Begin to accept clients. Raises OSError."""
        loop = asyncio.get_running_loop()
        copy = self._sock.dup()  # closing the server must not close the port
        try:
            self._server = await loop.create_server(self._make, sock=copy, backlog=AT_ONCE)
        except OSError:
            copy.close()
            raise
        self._sock.listen(self._backlog)
        if self._paused:  # while the server was being created
            self._close()

    def pause(self) -> None:
        """Stop accepting clients."""
        self._paused = True
        self._close()

    def close(self) -> None:
        """Close the port: the kernel then refuses new clients at once."""
        self.pause()
        self._sock.close()

    def resume(self) -> None:
        """Have `reopen_for_ever` accept clients again soon."""
        self._paused = False
        self._resumed.set()

    async def reopen_for_ever(self) -> None:
        """Reopen the port after each `resume`. Never returns."""
        while True:
            await self._resumed.wait()
            self._resumed = anyio.Event()
            while self._server is None and not self._paused:
                try:
                    await self.open()
                except OSError:
                    await anyio.sleep(RETRY_SECONDS)

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


def _count() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return sum(1 for _ in Path(folder).iterdir())
    return 0
