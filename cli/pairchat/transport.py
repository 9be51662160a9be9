"""This module opens the connection to one server, by TCP and whatever its address needs: a proxy, TLS, WebSocket."""

import ssl
from collections.abc import Callable
from typing import NamedTuple

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from pairchat.address import Server, WebAddress
from pairchat.errors import BadServer
from pairchat.proxy import Proxy, proxy_for


class Stage(NamedTuple):
    """A step on the way to a server."""

    peer: str  # the one that has to answer, for an error
    late: str  # the message if it doesn't answer in time
    plain: str = "without --tls"  # how the user would do without TLS


class Transport:
    """The way to one server. It is used for all connections to it."""

    def __init__(self, server: Server, tls: ssl.SSLContext | None = None, proxy: str | None = None) -> None:
        """`tls` is None if the connection is not encrypted. `proxy` is that of `pairchat.connect`.

        Raises `BadServer` and `BadSettings`.
        """
        self.server = server
        self._proxy: Proxy | None = None
        self._tls = tls
        if isinstance(server, WebAddress):
            if not server.secure and tls is not None:
                raise BadServer(f"{server} is not encrypted: write wss://, or leave TLS out")
            self._proxy = proxy_for(server, proxy)
        # Who connects to a port with TLS by mistake may get nothing but the end of the connection.
        self.bare = self._tls is None and not isinstance(server, WebAddress)

    @property
    def host(self) -> str:
        """The host to look up: that of the proxy, which looks the server up itself."""
        return (self._proxy or self.server).host

    @property
    def peer(self) -> str:
        """The name of that host in messages."""
        return f"the proxy {self._proxy}" if self._proxy is not None else str(self.server)

    @property
    def first(self) -> Stage:
        """The stage with which `open` begins."""
        return Stage(self.peer, f"{self.peer} does not answer")

    async def open(self, address: str, begin: Callable[[Stage], None]) -> ByteStream:
        """Connect to the server by one address of `host`. `begin` is called at each step after the first.

        Raises OSError, the errors of streams and of TLS, and `ConnectionFailed`.
        """
        stream: ByteStream = await anyio.connect_tcp(address, (self._proxy or self.server).port)
        try:
            if self._proxy is not None:
                stream = await self._through(self._proxy, stream, begin)
            if self._tls is not None:
                stream = await self._encrypted(stream, self._tls, begin)
            if isinstance(self.server, WebAddress):
                stream = await self._upgraded(self.server, stream, begin)
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise
        return stream

    async def _encrypted(self, stream: ByteStream, tls: ssl.SSLContext, begin: Callable[[Stage], None]) -> ByteStream:
        plain = "with ws://" if isinstance(self.server, WebAddress) else "without --tls"
        late = "; is it ws://?" if isinstance(self.server, WebAddress) else "; does it speak it there (--tls)?"
        begin(Stage(str(self.server), f"{self.server} does not answer in TLS{late}", plain))
        return await TLSStream.wrap(stream, hostname=self.server.host, ssl_context=tls, standard_compatible=False)

    async def _through(self, proxy: Proxy, stream: ByteStream, begin: Callable[[Stage], None]) -> ByteStream:
        """Have the proxy connect us to the server."""
        from pairchat.tunnel import Tunnel  # these imports are slow, and few need them

        assert isinstance(self.server, WebAddress)
        if proxy.secure:
            begin(Stage(self.peer, f"{self.peer} does not answer in TLS; is it http://?", "with http://"))
            # Neither the relay's authority nor the client's certificate is meant for the proxy.
            context = ssl.create_default_context()
            stream = await TLSStream.wrap(stream, hostname=proxy.host, ssl_context=context, standard_compatible=False)
        begin(Stage(self.peer, f"{self.peer} gives no answer when it is asked for {self.server}"))
        tunnel = Tunnel(proxy, self.server)
        await stream.send(tunnel.request)
        while not tunnel.open:
            try:
                tunnel.feed(await stream.receive())
            except anyio.EndOfStream:
                tunnel.feed(b"")
        return stream

    async def _upgraded(self, server: WebAddress, stream: ByteStream, begin: Callable[[Stage], None]) -> ByteStream:
        from pairchat.web_stream import WebStream

        begin(Stage(str(server), f"{server} gives no answer to the WebSocket handshake"))
        return await WebStream.open(stream, server)
