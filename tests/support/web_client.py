"""A client that acts like a page in a browser: the JSON dialect over WebSocket, by the library `websockets`."""

import contextlib
import socket
import ssl
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from tests.support.clients import JsonClient
from tests.support.node import Address
from tests.support.process import PATIENCE
from tests.support.wire import NO_LINGER


class WebClient(JsonClient):
    """See the module. It offers what the library offers, compression too, as browsers do."""

    def __init__(
        self,
        address: Address,
        patience: float = PATIENCE,
        tls: ssl.SSLContext | None = None,
        *,
        before: bytes = b"",
        origin: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """`before` is sent before anything else, as a balancer's header is."""
        sock = socket.create_connection(address, patience)
        sock.sendall(before)
        secure: dict[str, Any] = {} if tls is None else {"ssl": tls, "server_hostname": "localhost"}
        self._stack = contextlib.ExitStack()
        opening = connect(
            f"{'ws' if tls is None else 'wss'}://localhost:{address[1]}/ws",
            sock=sock,
            origin=Origin(origin) if origin is not None else None,
            subprotocols=[Subprotocol("pair-relay.1")],
            additional_headers=headers,
            open_timeout=patience,
            close_timeout=patience,
            ping_interval=None,
            proxy=None,
            **secure,
        )
        try:
            self.web = self._stack.enter_context(opening)
        except BaseException:
            sock.close()
            raise
        self.socket = self.web.socket
        self._received = b""

    def send_line(self, line: str) -> None:
        self.web.send(line)

    def line(self, patience: float = PATIENCE) -> str:
        try:
            said = self.web.recv(patience)
        except TimeoutError:
            raise AssertionError(f"{self} heard nothing for {patience} s") from None
        except ConnectionClosed as closed:
            raise AssertionError(f"{self} was closed: {closed}") from None
        assert isinstance(said, str), f"{self} got bytes"
        assert "\n" not in said
        return said

    def expect_code(self, code: int, patience: float = PATIENCE) -> None:
        """Check that the node closes the connection with this code and sends nothing before."""
        try:
            said = self.web.recv(patience)
        except ConnectionClosed as closed:
            assert closed.rcvd is not None, f"{self} was cut off: {closed}"
            assert closed.rcvd.code == code, f"{self}: {closed}"
        else:
            raise AssertionError(f"{self} got {said!r} before the end")

    def rest(self, patience: float = PATIENCE) -> bytes:
        rest = ""
        with contextlib.suppress(ConnectionClosed, OSError):
            while True:
                said = self.web.recv(patience)
                assert isinstance(said, str)
                rest += f"{said}\n"
        return rest.encode()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RD)  # ends the library's thread, which reads there
        self.web.recv_events_thread.join(PATIENCE)
        self.socket.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._stack.close()

    def farewell(self) -> None:
        with contextlib.suppress(ConnectionClosed, OSError):
            self.send("quit")
