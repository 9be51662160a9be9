"""One TCP connection to a node, with methods for bytes, lines and the end of the connection."""

import contextlib
import ctypes
import socket
import ssl
import struct
from types import TracebackType
from typing import Self

from tests.support.node import Address
from tests.support.process import PATIENCE

CHUNK = 65536  # bytes in each read
SO_ATTACH_FILTER = 26  # the value on Linux
DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)  # a BPF program of one instruction, which keeps 0 bytes of each packet
NO_LINGER = struct.pack("ii", 1, 0)  # SO_LINGER that turns close() into a reset


class Wire:
    """A blocking connection with a time-out for everything. Reading past the end or the time-out fails the test."""

    name: str | None = None  # the name that was claimed here, so that `Guests` can check that it is free afterwards

    _vanished = False

    def __init__(self, address: Address, patience: float = PATIENCE, tls: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(address, patience)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            try:
                self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
            except BaseException:
                self.socket.close()
                raise
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def send_bytes(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self, patience: float = PATIENCE) -> str:
        """Return the next line without its LF."""
        while b"\n" not in self._received:
            self._received += self._read(patience)
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()

    def _read(self, patience: float) -> bytes:
        self.socket.settimeout(patience)
        try:
            data = self.socket.recv(CHUNK)
        except TimeoutError:
            raise AssertionError(f"{self} heard nothing for {patience} s; so far {self._received!r}") from None
        assert data, f"{self} was closed; the rest was {self._received!r}"
        return data

    def expect_closed(self, patience: float = PATIENCE) -> None:
        """Check that the connection ends without further data. A reset counts as an end."""
        assert (rest := self.rest(patience)) == b"", f"{self} got {rest!r} before the end"

    def rest(self, patience: float = PATIENCE) -> bytes:
        """Return everything up to the end of the connection, which must end within the time-out."""
        rest, self._received = self._received, b""
        self.socket.settimeout(patience)
        with contextlib.suppress(ConnectionResetError):
            while data := self.socket.recv(CHUNK):
                rest += data
        return rest

    def finish(self) -> None:
        """Send EOF. Reading is still possible."""
        self.socket.shutdown(socket.SHUT_WR)

    def vanish(self) -> None:
        """Vanish as behind a broken cable: the kernel drops all incoming packets and answers none.

        Everything sent before is acknowledged. Send nothing afterwards.
        """
        program = ctypes.create_string_buffer(DROP_ALL, len(DROP_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))
        self._vanished = True

    def reset(self) -> None:
        """Break the connection with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    @property
    def open(self) -> bool:
        return self.socket.fileno() != -1

    def farewell(self) -> None:
        """Give the name back at once, if the dialect has a command for it. Never fails."""

    def depart(self) -> None:
        """Wait up to half a second for the answer to `farewell`, if one can come, and close. Never fails."""
        if not self._vanished:
            with contextlib.suppress(OSError):
                self.rest(patience=0.5)
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name or 'without a name'}>"
