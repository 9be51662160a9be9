"""A scripted node that speaks WebSocket. The server of `websockets` makes its frames, and judges the client's."""

import socket
from collections import deque
from contextlib import suppress
from typing import Any

from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from tests.cli.scripted import PATIENCE, Peer, ScriptedNode


class WebSocket:
    """The node's end of one connection, with as much of a socket as `Peer` needs: a line is a message."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        self._sock = sock
        self.protocol = ServerProtocol(subprotocols=[Subprotocol("pair-relay.1")], max_size=None)
        self._lines: deque[bytes] = deque()
        self.pongs: list[bytes] = []
        request = self._request()
        self.path = request.path
        self.protocol.send_response(self.protocol.accept(request))
        self.flush()

    def _request(self) -> Request:
        while True:
            self.protocol.receive_data(self._sock.recv(65_536))
            for event in self.protocol.events_received():
                assert isinstance(event, Request)
                return event

    def flush(self) -> None:
        """Send what the library wants to send, and end the connection if it wants that."""
        for data in self.protocol.data_to_send():
            if data:
                self._sock.sendall(data)
            else:
                with suppress(OSError):  # the client was faster
                    self._sock.shutdown(socket.SHUT_WR)

    def read(self) -> bool:
        """Read once. Returns False at the end of the stream."""
        data = self._sock.recv(65_536)
        self.protocol.receive_data(data) if data else self.protocol.receive_eof()
        for event in self.protocol.events_received():
            assert isinstance(event, Frame)
            assert event.fin, "a client doesn't send fragments"
            if event.opcode is Opcode.TEXT:
                self._lines.append(bytes(event.data))
            elif event.opcode is Opcode.PONG:
                self.pongs.append(bytes(event.data))
        self.flush()
        return bool(data)

    # --- what `Peer` uses

    def settimeout(self, seconds: float) -> None:
        self._sock.settimeout(seconds)

    def makefile(self, _: str) -> "WebSocket":
        return self

    def readline(self) -> bytes:
        """Return the next message with an LF, or nothing once the client has closed the connection."""
        while not self._lines:
            if self.protocol.close_rcvd is not None or not self.read():
                return b""
        return self._lines.popleft() + b"\n"

    def sendall(self, lines: bytes) -> None:
        for line in lines.splitlines():
            self.protocol.send_text(line)
        self.flush()

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()


class WebPeer(Peer):
    """See `Peer`."""

    def __init__(self, sock: socket.socket) -> None:
        self.web = WebSocket(sock)
        super().__init__(self.web)  # type: ignore[arg-type]

    def part(self) -> None:
        """Answer a `quit` as a node does: with `bye`, a close frame, and the end after the client's own."""
        self.expect({"type": "quit"})
        self.say('{"type":"bye"}')
        self.end(1000, "bye")

    def end(self, code: int, reason: str = "") -> None:
        """Close the connection, and wait for the client's answer."""
        self.web.protocol.send_close(code, reason)
        self.web.flush()
        self.ended()
        self.close()

    def ended(self) -> None:
        """Wait for the end of the client's stream. It has to send a close frame before."""
        while self.web.read():
            pass
        assert self.web.protocol.close_rcvd is not None, "cut off without a close frame"

    @property
    def heard_close(self) -> Close:
        """The client's close frame."""
        close = self.web.protocol.close_rcvd
        assert close is not None
        return close


class ScriptedWebNode(ScriptedNode):
    """See `ScriptedNode`. `url` is its address for WebSocket."""

    def __init__(self) -> None:
        super().__init__()
        self.url = f"ws://{self.address}"

    def accept(self) -> WebPeer:
        sock: Any = self._socket.accept()[0]
        if self._tls:
            sock = self._tls.wrap_socket(sock, server_side=True)
        peer = WebPeer(sock)
        self._peers.append(peer)
        return peer
