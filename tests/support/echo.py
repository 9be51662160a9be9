"""An echo server made of a node's own WebSocket connections, for test suites that want one.

All is a node's but two things: a message goes back to its client in place of a session, and binary messages are taken
as well, which a node refuses. Both are what such suites require.
"""

import asyncio
from codecs import IncrementalDecoder
from typing import Any

from relay.hub.hub import Hub
from relay.hub.rate_limit import ClientSource
from relay.protocol.commands_and_events import EndOfStream
from relay.protocol.dialects import Line
from relay.server.connection import Connection
from relay.server.http_exchange import HttpServer
from relay.server.ping_timer import PingTimer
from relay.server.websocket_connection import WebSocketConnection
from relay.web.forwarded import TrustedProxies
from relay.web.frames import MessageFramer, text_frame
from relay.web.origins import OriginRules
from relay.web.responder import HttpResponder

# The largest messages of the suite.
MAX_MESSAGE = 16 * 1024 * 1024
TEXT, BINARY = 0x1, 0x2


class Binary(bytes):
    """A binary message."""


class AnyBytes(IncrementalDecoder):
    """A decoder that finds nothing wrong."""

    def decode(self, input: Any, final: bool = False) -> str:
        return ""


class EchoFramer(MessageFramer):
    """A framer that takes binary messages too."""

    __slots__ = ("_binary",)

    def __init__(self, limit: int) -> None:
        super().__init__(limit, limit)
        self._binary = False

    def _acceptable(self, first: int, second: int) -> bool:
        if first & 0x0F == BINARY:
            first, self._binary = first & 0xF0 | TEXT, self._message is None or self._binary
        elif first & 0x0F == TEXT and self._message is None:
            self._binary = False
        return super()._acceptable(first, second)

    def _begin(self, head: bytes) -> None:
        super()._begin(head)
        if self._binary and self._message is not None:
            self._decoder = AnyBytes()

    def _take_payload(self, payload: bytes, messages: list[bytes]) -> None:
        before = len(messages)
        super()._take_payload(payload, messages)
        if self._binary and len(messages) > before:
            messages[-1] = Binary(messages[-1])


class EchoConnection(WebSocketConnection):
    """A connection whose messages go back to its client."""

    __slots__ = ()

    def __init__(self, hub: Hub, ping_timer: PingTimer, origin: ClientSource) -> None:
        super().__init__(hub, MAX_MESSAGE, ping_timer, origin=origin)
        self._framer = self._messages = EchoFramer(MAX_MESSAGE)  # before `connection_made`, which gives it its sink

    def pump(self) -> None:
        lines: list[Line] = list(self.lines)
        self._drop_lines()
        for line in lines:
            if isinstance(line, EndOfStream):
                self.session.receive(line)
            elif isinstance(line, Binary):
                frame = bytearray(text_frame(line))
                frame[0] = 0x80 | BINARY
                self._out.add(bytes(frame))
            elif isinstance(line, bytes):
                self._out.add(text_frame(line))
        self._hub.mark_dirty(self)
        self.read_gate.adjust(self)


class EchoServer(HttpServer):
    """A server whose clients hear themselves."""

    def connect(self, origin: ClientSource) -> WebSocketConnection:
        return EchoConnection(self.hub, self.ping_timer, origin)


async def echo_server(hub: Hub) -> asyncio.Server:
    """Serve on a free port of this machine."""
    responder = HttpResponder(OriginRules((), loopback=True), TrustedProxies(()), None)
    server = EchoServer(hub, responder, MAX_MESSAGE, why_full=str, move=lambda source, _: source)
    return await asyncio.get_running_loop().create_server(
        lambda: Connection(hub, MAX_MESSAGE, http=server), "127.0.0.1", 0
    )
