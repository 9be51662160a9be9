"""A scripted node: it sends and expects the literal lines of a test, over a real socket."""

import json
import os
import socket
import ssl
from typing import Any, Self

PATIENCE = 10.0  # seconds, after which a wait fails

WELCOME = (
    '{"type":"welcome","v":1,"name":"%s","token":"t0","resumed":false,"grace":30,'
    '"window":%d,"window_bytes":%d,"ping":%g,"node":"n1"}'
)
PAIRED = '{"type":"paired","name":"%s","chat":"%s","acks":"client","resumed":false}'
PONG = '{"type":"pong"}'
BYE = '{"type":"bye"}'
PING = {"type": "ping"}
QUIT = {"type": "quit"}


def marked(answer: str, request: Any) -> str:
    """Return the answer with the `ref` of its request."""
    return f'{answer[:-1]},"ref":{request["ref"]}}}'


class Peer:
    """The node's end of one connection. Every wait fails after `PATIENCE`."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        self._sock = sock
        self._lines = sock.makefile("rb")

    def heard(self) -> Any:
        """Return the next frame of the client except `typing`, or None at the end of the connection."""
        while (frame := self.heard_at_all()) is not None and frame["type"] == "typing":
            pass
        return frame

    def heard_at_all(self) -> Any:
        """Return the next frame of the client, whatever its type is."""
        line = self._lines.readline()
        assert line.endswith(b"\n") or not line, f"a fragment: {line!r}"
        return json.loads(line) if line else None

    def expect(self, *frames: Any) -> None:
        """Check that the next frames are these. A ping in between is answered, as every node does."""
        for frame in frames:
            while (heard := self.heard()) != frame and heard == PING:
                self.say(PONG)
            assert heard == frame, f"heard {heard!r}, expected {frame!r}"

    def say(self, *lines: str) -> None:
        """Send these lines in one write."""
        self._sock.sendall("".join(line + "\n" for line in lines).encode())

    def say_bare(self, data: bytes) -> None:
        """Send these bytes unchanged, below TLS if the stream has it."""
        os.write(self._sock.fileno(), data)

    def welcome(
        self, name: str, *, window: int = 256, window_bytes: int = 1_048_576, ping: float = 30, grace: float = 30
    ) -> None:
        """Welcome the client under the name that it claims."""
        self.expect({"type": "hello", "v": 1, "name": name, "acks": True})
        self.say((WELCOME % (name, window, window_bytes, ping)).replace('"grace":30', f'"grace":{grace}'))

    def take_back(
        self, name: str, last: int, *, partner: str | None = None, sent: int | None = 0, had: int = 0
    ) -> None:
        """Resume the session of a client that sent up to `sent` and acknowledged `last`. The partner has `had`.

        With `sent` None the client may give any number.
        """
        hello = {"type": "hello", "v": 1, "name": name, "acks": True, "token": "t0"}
        if partner:
            hello |= {"chat": "c1"}
        heard = self.heard()
        heard.pop("at", None)
        if sent is None:
            heard.pop("sent", None)
        assert heard == hello | ({"sent": sent} if sent is not None else {}) | ({"last": last} if last else {})
        welcome = (WELCOME % (name, 256, 1_048_576, 30)).replace('"resumed":false', '"resumed":true')
        paired = (PAIRED % (partner, "c1")).replace('"resumed":false', f'"resumed":true,"last":{had}')
        self.say(*[welcome, paired][: 2 if partner else 1])
        self.expect(PING)
        self.say(PONG)

    def pair(self, name: str, chat: str = "c1") -> None:
        """Accept the call of `name`."""
        self.expect({"type": "to", "name": name}, PING)
        self.say(PAIRED % (name, chat), PONG)

    def part(self) -> None:
        """Answer a `quit`, and wait for the end of the connection."""
        self.expect(QUIT)
        self.say(BYE)
        self.close()

    def close(self) -> None:
        self._lines.close()
        self._sock.close()


class ScriptedNode:
    """Listens on a port. The test plays the node."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(PATIENCE)
        self._peers: list[Peer] = []
        self._bare: list[socket.socket] = []
        self._tls: ssl.SSLContext | None = None
        host, port = self._socket.getsockname()
        self.address = f"{host}:{port}"

    def accept(self) -> Peer:
        """Return the connection of the next client."""
        sock = self._socket.accept()[0]
        if self._tls:
            sock = self._tls.wrap_socket(sock, server_side=True)
        self._peers.append(Peer(sock))
        return self._peers[-1]

    def accept_bare(self) -> socket.socket:
        """Return the socket of the next client. It is closed with the node."""
        sock = self._socket.accept()[0]
        self._bare.append(sock)
        return sock

    def wrap(self, tls: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._tls = tls

    def nobody_else_came(self) -> bool:
        """Whether there is no client that was not accepted."""
        self._socket.setblocking(False)
        try:
            self.accept_bare()
        except BlockingIOError:
            return True
        return False

    def stop_listening(self) -> None:
        """Refuse further connections."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for peer in self._peers:
            peer.close()
        for sock in self._bare:
            sock.close()
        self._socket.close()
