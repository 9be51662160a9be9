"""The ports of a node: what connections inherit from them."""

import contextlib
import socket

from relay import ports
from relay.config import Config

MOST = 4 * ports.KERNEL_BYTES  # the kernel reckons twice as much as was asked for, and takes a piece more


def send_all(sock: socket.socket) -> int:
    """How many bytes a socket takes whose other end reads nothing."""
    sock.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < 64 * MOST:
            sent += sock.send(b"x" * 4096)
    return sent


def test_a_client_that_does_not_read_or_is_not_read_costs_the_kernel_little() -> None:
    with contextlib.ExitStack() as stack:
        port = ports.bind(Config(port=0, classic_port=None, http_port=None))["address"]
        stack.callback(port.close)
        port.setblocking(True)
        client = stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ports.KERNEL_BYTES)  # what it takes isn't the node's
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ports.KERNEL_BYTES)
        client.connect(port.getsockname())
        served, _ = port.accept()
        stack.callback(served.close)
        assert 0 < send_all(served) <= MOST
        for _ in range(200):  # the kernel gives more to one who is read
            assert send_all(client) <= MOST
            served.recv(MOST)
        assert served.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 2 * ports.KERNEL_BYTES
