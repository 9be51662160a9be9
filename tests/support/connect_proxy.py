"""An HTTP proxy that connects its clients to other servers (CONNECT), as the networks of some companies have it."""

import asyncio
import contextlib
from base64 import b64encode

from tests.support.proxy import HOST, Proxy, _Pipe  # private: this is another kind of that proxy

OK = "200 Connection established"


class ConnectProxy(Proxy):
    """A proxy on its own port, which `address` has. It looks every name up as this machine.

    `answer` is the status line of its answers, or None for no answer at all. With `user`, which is `name:password`,
    it wants that of its clients.
    """

    def __init__(self, user: str | None = None, answer: str | None = OK) -> None:
        self.asked: list[str] = []  # the servers, `host:port`
        self.answer = answer
        self._wanted = f"basic {b64encode(user.encode()).decode()}" if user is not None else None
        super().__init__(0)
        self.address = f"{HOST}:{self.port}"

    def cut(self) -> None:
        """Break all connections."""

        async def do() -> None:
            self._cut_all()

        self._call(do)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            server = head.split()[1]
            self.asked.append(server)
            answer = self.answer
            if self._wanted is not None and f"proxy-authorization: {self._wanted}".lower() not in head.lower():
                answer = "407 Proxy Authentication Required\r\nProxy-Authenticate: Basic"
            if answer is None:
                await reader.read()
            elif answer != OK:
                writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 2\r\n\r\nno".encode())
                await writer.drain()
            else:
                await self._connect(int(server.rpartition(":")[2]), reader, writer)
        writer.close()

    async def _connect(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(HOST, port)
        writer.write(f"HTTP/1.1 {OK}\r\n\r\n".encode())
        pipe = _Pipe(writer, server_writer)
        self._pipes.add(pipe)
        try:
            await asyncio.gather(self._up(pipe, reader, server_writer), self._down(pipe, server_reader, writer))
        finally:
            self._pipes.discard(pipe)
