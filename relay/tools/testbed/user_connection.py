"""A TCP connection of a run's user."""

import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import anyio
import anyio.abc
from anyio.abc import ByteStream

from relay.configuration.config import StartError, show_server
from relay.tasks.threads import in_thread
from relay.tools.testbed.web_lines import NoWebSocket, WebLines

Address = tuple[str, int]

READ_BYTES: Final = 65_536
CONNECT_SECONDS: Final = 2.0
LOOKUP_SECONDS: Final = 20.0  # the time-out of the system's resolver, with its usual settings
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER that turns close into a reset
BROKEN: Final = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class UserConnection:
    """A connection on which any task may send. It calls `note` with an arrow and the bytes of each transfer."""

    def __init__(self, stream: ByteStream, note: Callable[[str, bytes], None]) -> None:
        self.stream = stream
        self._note = note
        self._sending = anyio.Lock()

    async def send(self, data: bytes) -> None:
        """Send the data. A broken connection is ignored here, because `receive` raises then."""
        if data:
            async with self._sending:
                self._note(">", data)
                with suppress(*BROKEN):
                    await self.stream.send(data)

    async def receive(self) -> bytes:
        """Return received data. Raises one of BROKEN at the end."""
        data = await self.stream.receive(READ_BYTES)
        self._note("<", data)
        return data

    async def aclose(self) -> None:
        """Close the connection."""
        await self.stream.aclose()

    def harden(self) -> None:
        """Make `aclose` reset the connection instead of ending the stream."""
        with suppress(OSError, ValueError, AttributeError):  # it has ended already; uvloop raises the last two
            sock = self.stream.extra(anyio.abc.SocketAttribute.raw_socket)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


class WebWire(UserConnection):
    """The same over WebSocket. What is sent and received is lines, and so is what is noted."""

    def __init__(self, stream: ByteStream, note: Callable[[str, bytes], None], lines: WebLines) -> None:
        super().__init__(stream, note)
        self._lines = lines

    async def shake(self) -> bool:
        """Do the opening handshake. Returns whether there is one now."""
        await self._pay()
        with suppress(NoWebSocket, *BROKEN):
            while not self._lines.open:
                self._lines.feed(await self.stream.receive(READ_BYTES))
        return self._lines.open

    async def send(self, data: bytes) -> None:
        """See `UserConnection`."""
        if data:
            async with self._sending:
                self._note(">", data)
                with suppress(*BROKEN):
                    await self.stream.send(self._lines.frames(data))

    async def receive(self) -> bytes:
        """See `UserConnection`. Frames without a line in them are answered meanwhile."""
        while True:
            try:
                data = self._lines.feed(await self.stream.receive(READ_BYTES))
            except NoWebSocket:
                raise anyio.BrokenResourceError from None
            await self._pay()
            if data:
                self._note("<", data)
                return data

    async def _pay(self) -> None:
        if owed := self._lines.take_owed():
            async with self._sending:
                with suppress(*BROKEN):
                    await self.stream.send(owed)


async def look_up(server: Address) -> None:
    """Check that the host's name resolves, once before all users of a run connect. Raises StartError.

    A resolver that hangs isn't waited for, not even at the end of the process.
    """
    with anyio.move_on_after(LOOKUP_SECONDS):
        try:
            await in_thread(lambda: socket.getaddrinfo(*server))
            return
        except OSError as error:
            raise StartError(f"can't connect to {show_server(server)}: {error.strerror or error}") from None
    raise StartError(f"can't connect to {show_server(server)}: its name isn't resolved within {LOOKUP_SECONDS:g} s")


async def dial(
    address: Address,
    note: Callable[[str, bytes], None] = lambda _arrow, _data: None,
    tls: ssl.SSLContext | None = None,
    *,
    web: bool = False,
) -> UserConnection | None:
    """Return a connection, with TLS if there is a context, or None if the address can't be reached now.

    `web`: over WebSocket.

    Raises:
        StartError: the server's certificate isn't accepted.
    """
    host, port = address
    with anyio.move_on_after(CONNECT_SECONDS):
        try:
            stream: ByteStream
            if tls is None:
                stream = await anyio.connect_tcp(host, port)
            else:
                # Lines show by themselves where they end, so the end of TCP may replace that of TLS.
                stream = await anyio.connect_tcp(host, port, ssl_context=tls, tls_standard_compatible=False)
            if not web:
                return UserConnection(stream, note)
            wire = WebWire(stream, note, WebLines(host, port))
            opened = False
            try:
                opened = await wire.shake()
            finally:
                if not opened:
                    with anyio.CancelScope(shield=True):
                        await stream.aclose()
            return wire if opened else None
        except ssl.SSLCertVerificationError as error:
            raise StartError(f"the certificate of {host}:{port} isn't accepted: {error.verify_message}") from None
        except (OSError, *BROKEN):
            pass
    return None
