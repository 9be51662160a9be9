"""Makes the sockets of outgoing connections, and finds the addresses of host names."""

import socket
from collections.abc import Callable
from typing import Any, Final


class OutgoingSockets:
    """The functions of the system, which may be replaced. Read them where they are called, as those of `clocks`."""

    __slots__ = ("addresses", "stream")

    # Blocks, as `socket.getaddrinfo`.
    addresses: Callable[..., list[tuple[Any, ...]]]
    stream: Callable[[int], socket.socket]

    def __init__(self) -> None:
        self.addresses = socket.getaddrinfo
        self.stream = stream_socket


def stream_socket(family: int) -> socket.socket:
    """Return a new socket for a connection, on which nothing blocks. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


outgoing_sockets: Final = OutgoingSockets()
