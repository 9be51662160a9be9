"""The listening ports of a node, which workers share. They are bound first, so that one in use is reported at once."""

import ipaddress
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, NamedTuple

from relay.configuration.config import Config, StartError, show_server
from relay.net import tcp_health

# The kernel's buffers for one client: this much unsent data, and this much data that the node hasn't read. (Linux
# doubles the latter for its own overhead, and a connection begins with as much.) Without these limits both may grow to
# megabytes. Once all connections together use up Linux's memory for TCP (`tcp_mem`), all of them stall, the one to
# Redis too. A client can send 64 KiB in one round trip, which is 640 KB a second at 100 ms.
KERNEL_BYTES: Final = 64 * 1024


def resolve(host: str) -> str:
    """Return the address of a host, an IPv4 address if it has any. Raises StartError.

    Call it from the main thread. A resolver that hangs can't be stopped, so it runs in a daemon thread, which nobody
    joins: a signal whose handler raises ends this call at once.
    """
    outcome: Future[str] = Future()

    def ask() -> None:
        try:
            outcome.set_result(str(_find(host, None).address[0]))
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        return outcome.result()
    except OSError as error:
        raise StartError(f"can't listen on {host}: {error.strerror or error}") from None


class _Address(NamedTuple):
    """One result of getaddrinfo."""

    family: socket.AddressFamily
    kind: socket.SocketKind
    protocol: int
    canonical: str
    address: tuple[str | int, ...] | tuple[int, bytes]


def _find(host: str, port: int | None) -> _Address:
    """Return the host's first IPv4 address, or its first address if it has no IPv4 one. Raises OSError."""
    found = (_Address(*entry) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    return min(found, key=lambda entry: entry.family != socket.AF_INET)


def bind(config: Config) -> dict[str, socket.socket]:
    """Return the bound sockets by their role. Raises StartError.

    They listen already, except shared ones: the kernel must not give clients to a worker that isn't ready for them.
    """
    ports = {"address": config.port, "classic": config.classic_port, "http": config.http_port}
    sockets: dict[str, socket.socket] = {}
    for role, port in ports.items():
        if port is None:
            continue
        try:
            share = config.share_ports and role != "http"
            sockets[role] = _bind(config.host, port, share=share, listen=not share)
        except StartError:
            for bound in sockets.values():
                bound.close()
            raise
    return sockets


@contextmanager
def reserved(config: Config) -> Iterator[Config]:
    """Reserve the client ports for workers that share them, while the context lasts. Raises StartError.

    Yields the settings with the actual port numbers in place of 0. Each port must be free: SO_REUSEPORT alone would
    share it with a relay that already runs, which would get half of the clients.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise StartError("several workers need SO_REUSEPORT, which this system doesn't have")
    kept: list[socket.socket] = []
    try:
        for port in filter(lambda port: port is not None, (config.port, config.classic_port)):
            with _bind(config.host, port or 0, share=False) as probe:
                taken = probe.getsockname()[1]
            kept.append(_bind(config.host, taken, share=True, listen=False))  # without listen() it gets no clients
        port, *classic = (sock.getsockname()[1] for sock in kept)
        yield replace(config, port=port, classic_port=classic[0] if classic else None)
    finally:
        for sock in kept:
            sock.close()


def show(sock: socket.socket) -> str:
    """Return address and port as a user would type them."""
    host, port, *_ = sock.getsockname()
    return show_server((host, port))


def is_loopback(sock: socket.socket) -> bool:
    """Return whether the port is bound to a loopback address."""
    return ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback


def _bind(host: str, port: int, *, share: bool, listen: bool = True) -> socket.socket:
    try:
        found = _find(host, port)
        sock = socket.socket(found.family, found.kind, found.protocol)
    except OSError as error:
        raise _in_the_way(host, port, error) from None
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _set_up(sock)
        sock.bind(found.address)
        if listen:
            sock.listen(1)  # SO_REUSEADDR lets two sockets be bound to a port; only listening shows that it is taken
    except OSError as error:
        sock.close()
        raise _in_the_way(host, port, error) from None
    return sock


def _set_up(sock: socket.socket) -> None:
    """Set the options on the listening socket: its connections inherit them, which saves system calls on each."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tcp_health.keep_alive(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, KERNEL_BYTES)


def _in_the_way(host: str, port: int, error: OSError) -> StartError:
    return StartError(f"can't listen on {show_server((host, port))}: {error.strerror or error}")
