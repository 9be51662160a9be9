"""The options that connections inherit from a node's ports."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from relay.configuration.config import Config, StartError
from relay.net import listeners, tcp_health

MOST = 4 * listeners.KERNEL_BYTES  # the kernel doubles the requested size, and takes a little more


@pytest.fixture
def port() -> Iterator[socket.socket]:
    with listeners.bind(Config(port=0, classic_port=None, http_port=None))["address"] as port:
        port.setblocking(True)
        yield port


def send_all(sock: socket.socket) -> int:
    """Return the number of bytes that a socket takes while the other end doesn't read."""
    sock.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < 64 * MOST:
            sent += sock.send(b"x" * 4096)
    return sent


def test_the_kernel_sends_at_once_and_looks_after_the_peer(port: socket.socket) -> None:
    with socket.create_connection(port.getsockname()):
        served, _ = port.accept()
    with served:
        assert served.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert served.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        expected = [tcp_health.KEEP_IDLE, tcp_health.KEEP_INTERVAL, tcp_health.KEEP_COUNT]
        assert [served.getsockopt(socket.IPPROTO_TCP, option) for option in options] == expected


def test_a_client_that_does_not_read_or_is_not_read_costs_the_kernel_little(port: socket.socket) -> None:
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, listeners.KERNEL_BYTES)  # not the node's buffer
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, listeners.KERNEL_BYTES)
        client.connect(port.getsockname())
        served, _ = port.accept()
        stack.callback(served.close)
        assert 0 < send_all(served) <= MOST
        for _ in range(200):  # the kernel gives more to a socket that is read
            assert send_all(client) <= MOST
            served.recv(MOST)
        assert served.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 2 * listeners.KERNEL_BYTES


def test_a_system_without_some_options_has_ports_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in ("TCP_NOTSENT_LOWAT", "TCP_INFO"):
        monkeypatch.delattr(socket, option)
    with listeners.bind(Config(port=0, classic_port=None, http_port=None))["address"] as port:
        assert port.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert port.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_workers_are_refused_where_they_can_not_share_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    with pytest.raises(StartError, match="several workers need SO_REUSEPORT"), listeners.reserved(Config(port=0)):
        pass


def test_a_host_without_an_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(StartError, match=r"^can't listen on nowhere: Name or service not known$"):
        listeners.resolve("nowhere")
