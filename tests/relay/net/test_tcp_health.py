"""The kernel's view of a peer, on a real kernel."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from relay.net.tcp_health import (
    CHECK_SECONDS,
    KEEP_COUNT,
    KEEP_IDLE,
    KEEP_INTERVAL,
    OWING_CHECKS,
    TcpInfo,
    keep_alive,
    read_tcp_info,
)
from relay.tools.testbed.process import HOST
from tests.support.process import wait_until
from tests.support.rows import each_row
from tests.support.wire import Wire

PROMISED = 30  # seconds


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0)) as listener:
        yield listener


@pytest.fixture
def client(listener: socket.socket) -> Iterator[Wire]:
    with Wire(listener.getsockname()) as client:
        yield client


@pytest.fixture
def ours(listener: socket.socket, client: Wire) -> Iterator[socket.socket]:
    """Return the node's end of the client's connection."""
    ours, _ = listener.accept()
    with ours:
        keep_alive(ours)
        yield ours


def fill(sock: socket.socket) -> None:
    """Write until the kernel takes no more."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(b"x" * 65536)


def test_keep_alive_notices_a_quiet_peer_in_time(ours: socket.socket) -> None:
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    idle, interval, count = (ours.getsockopt(socket.IPPROTO_TCP, option) for option in options)
    assert (idle, interval, count) == (KEEP_IDLE, KEEP_INTERVAL, KEEP_COUNT)
    assert idle + interval * count < PROMISED
    assert CHECK_SECONDS * (2 + OWING_CHECKS) < PROMISED, "silent for one look before the first that counts"


def test_nothing_waits_for_a_peer_that_has_everything(ours: socket.socket, client: Wire) -> None:
    ours.sendall(b"hi\n")
    assert client.line() == "hi"
    wait_until(lambda: not read_tcp_info(ours).waiting, "it is acknowledged")


def test_a_peer_that_is_gone_acknowledges_nothing(ours: socket.socket, client: Wire) -> None:
    client.vanish()
    ours.sendall(b"hi\n")
    assert read_tcp_info(ours).unacknowledged == 1
    assert read_tcp_info(ours).waiting
    before = read_tcp_info(ours).silent
    wait_until(lambda: read_tcp_info(ours).silent > before + 0.1, "its silence grows")


def close_window(sock: socket.socket) -> None:
    """Write until the peer's window is closed and it has confirmed that."""
    fill(sock)
    wait_until(
        lambda: read_tcp_info(sock).unacknowledged == 0 and read_tcp_info(sock).silent > 0.15,
        "it says nothing by itself",
    )
    wait_until(lambda: read_tcp_info(sock).silent < 0.1, "it has answered a question")


def test_a_peer_that_does_not_read_answers_the_kernel_s_probes(ours: socket.socket, client: Wire) -> None:
    close_window(ours)
    seen = read_tcp_info(ours)
    assert (seen.unacknowledged, seen.probes) == (0, 0)
    assert seen.unsent > 0
    assert seen.waiting


def test_a_peer_that_is_gone_and_did_not_read_answers_no_probe(ours: socket.socket, client: Wire) -> None:
    close_window(ours)
    client.vanish()
    wait_until(lambda: read_tcp_info(ours).probes > 1, "two questions have no answer")
    assert read_tcp_info(ours).waiting


@each_row(
    ("seen", "owing", "deaf"),
    [
        (TcpInfo(), False, False),
        (TcpInfo(unacknowledged=1, silent=CHECK_SECONDS), False, False),
        (TcpInfo(unacknowledged=1, silent=CHECK_SECONDS + 0.1), True, False),
        (TcpInfo(silent=3600.0, unsent=1), False, False),
        (TcpInfo(KEEP_COUNT, silent=15.0, unsent=1), False, False),
        (TcpInfo(KEEP_COUNT, silent=15.1, unsent=1), False, True),
        (TcpInfo(KEEP_COUNT - 1, silent=3600.0, unsent=1), False, False),
    ],
)
def test_when_a_peer_owes_an_answer(seen: TcpInfo, owing: bool, deaf: bool) -> None:
    assert (seen.owing, seen.unresponsive) == (owing, deaf)


def test_where_the_kernel_says_too_little_nothing_waits(monkeypatch: pytest.MonkeyPatch, ours: socket.socket) -> None:
    ours.sendall(b"hi\n")
    monkeypatch.setattr("relay.net.tcp_health._TCP_INFO", type("Longer", (), {"size": 1024}))
    assert read_tcp_info(ours) == TcpInfo()
    monkeypatch.delattr(socket, "TCP_INFO")
    assert read_tcp_info(ours) == TcpInfo()
