"""File descriptors: how many are left, and ports that accept nobody while there are too few.

When none is left, asyncio tries again without end, and libuv closes whoever comes (seen with Python 3.11 and uvloop
0.23); neither leaves any for Redis. So accepting stops a little before: newcomers wait in the kernel, and what is
connected goes on.
"""

import asyncio
import resource
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio

# Kept free: 16 for those whom the loop accepts before it asks whether there is room, 16 for the HTTP port, and 32 for
# connections to Redis that are made anew and files that are read again.
SPARE: Final = 64
# Accepting goes on once so many more are free than it stopped at: not to stop again at once.
RELIEF: Final = 8
# A port that couldn't be opened again is tried again after so many seconds.
RETRY_SECONDS: Final = 1.0
# Connections that the loop accepts in one go (asyncio's own), without asking whether there is room; below SPARE.
AT_ONCE: Final = 16


def raise_limit() -> None:
    """Have as many descriptors as the system allows this process: the usual soft limit, 1,024, is for select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Descriptors:
    """What is left, by `clients()`, the number of those that clients hold, and what all else took at the start.

    `met()` is called when there are too few.
    """

    def __init__(self, clients: Callable[[], int], met: Callable[[], object]) -> None:
        self.short = False
        self._met = met
        self._clients = clients
        self._others = 0
        self._ports: list[Port] = []

    def start(self, ports: "Iterable[Port]") -> None:
        """Everything else is open: count it, and mind these ports from now on."""
        self._ports = list(ports)
        self._others = _count() - self._clients()

    def look(self) -> None:
        """A client has come or gone."""
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
    """A listening socket whose clients can be left waiting in the kernel."""

    def __init__(self, sock: socket.socket, make: Callable[[], asyncio.BaseProtocol], backlog: int) -> None:
        self._sock, self._make, self._fair_queue = sock, make, backlog
        self._server: asyncio.Server | None = None
        self._paused = False
        self._resumed = anyio.Event()

    async def open(self) -> None:
        """Accept clients. Raises OSError."""
        loop = asyncio.get_running_loop()
        copy = self._sock.dup()  # closing it must not close the port
        try:
            self._server = await loop.create_server(self._make, sock=copy, backlog=AT_ONCE)
        except OSError:
            copy.close()
            raise
        self._sock.listen(self._fair_queue)
        if self._paused:  # meanwhile
            self._close()

    def pause(self) -> None:
        """Accept nobody from now on."""
        self._paused = True
        self._close()

    def close(self) -> None:
        """Let nobody wait here any more: whoever tries is refused at once."""
        self.pause()
        self._sock.close()

    def resume(self) -> None:
        """Accept again, soon."""
        self._paused = False
        self._resumed.set()

    async def mind(self) -> None:
        """For ever: open it again when it may be."""
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
