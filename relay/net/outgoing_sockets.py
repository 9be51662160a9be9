"""Makes the sockets of outgoing connections, and finds the addresses of host names."""

import socket
from collections.abc import Callable
from typing import Any, Final


class OutgoingSockets:
    """The system's functions. A simulator replaces them, so call them through this object, as those of `clocks`."""

    __slots__ = ("addresses", "stream")

    # It blocks, as `socket.getaddrinfo` does.
    addresses: Callable[..., list[tuple[Any, ...]]]
    stream: Callable[[int], socket.socket]

    def __init__(self) -> None:
        self.addresses = socket.getaddrinfo
        self.stream = stream_socket


def stream_socket(family: int) -> socket.socket:
    """Return a new non-blocking TCP socket. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


outgoing_sockets: Final = OutgoingSockets()
