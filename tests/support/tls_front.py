"""A TLS proxy in front of a server without TLS, as some providers run it."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.proxy import Proxy

_TLS: bytes = b"\x16"  # the first byte of a handshake


class TlsProxy(Proxy):
    """Terminates TLS with a certificate that may change. With `plain` it also forwards connections without TLS.

    `plain` is for servers that talk to each other through it, such as sentinels and replicas.
    """

    def __init__(self, port: int, own: tuple[Path, Path], client_ca: Path | None = None, plain: bool = False) -> None:
        self._plain = plain
        self.show(own, client_ca)
        super().__init__(port)

    def show(self, own: tuple[Path, Path], client_ca: Path | None = None) -> None:
        """Use this certificate from now on. With `client_ca`, clients need a certificate that it signed."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*own)
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        self._context = context

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._socket.setblocking(False)
        self._listening = self._loop.create_task(self._listen())
        self._loop.run_forever()

    async def _close(self) -> None:
        self._listening.cancel()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        while self._pipes:
            self._cut_all()
            await asyncio.sleep(0)
        for task in others:
            task.cancel()
        await asyncio.wait(others)

    async def _listen(self) -> None:
        greetings = set()
        while True:
            sock, _ = await self._loop.sock_accept(self._socket)
            task = self._loop.create_task(self._greet(sock))
            greetings.add(task)
            task.add_done_callback(greetings.discard)

    async def _greet(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        reader, transport = asyncio.StreamReader(), None
        try:
            first = await self._first(sock)
            if first == _TLS or self._plain:
                context = self._context if first == _TLS else None
                transport, protocol = await self._loop.connect_accepted_socket(
                    lambda: asyncio.StreamReaderProtocol(reader), sock, ssl=context
                )
                await self._accept(reader, asyncio.StreamWriter(transport, protocol, reader, self._loop))
        except OSError:
            pass
        finally:
            if transport is None:
                sock.close()
            else:
                transport.abort()

    async def _first(self, sock: socket.socket) -> bytes:
        """Return the first byte without consuming it."""
        there: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(sock, there.set_result, None)
        try:
            await there
        finally:
            self._loop.remove_reader(sock)
        return sock.recv(1, socket.MSG_PEEK)


@contextmanager
def tls_front(port: int, cert: Path, key: Path) -> Iterator[int]:
    """Run a TLS proxy to a local port, and yield the proxy's port."""
    proxy = TlsProxy(port, (cert, key))
    try:
        yield proxy.port
    finally:
        proxy.stop()
