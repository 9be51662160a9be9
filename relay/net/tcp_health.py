"""Detects whether the peer of a silent TCP connection is still alive.

TCP keep-alive detects it while no data is in flight. The rest is read from the kernel (Linux): a live peer acknowledges
the data that reaches it, and answers window probes, however long its program doesn't read.
"""

import contextlib
import socket
import struct
from typing import Final, NamedTuple

# Keep-alive detects a dead peer within KEEP_IDLE + KEEP_COUNT * KEEP_INTERVAL = 25 s. Unlike TCP_USER_TIMEOUT, it keeps
# the connection of a live peer that doesn't read.
KEEP_IDLE: Final = 10
KEEP_INTERVAL: Final = 5
KEEP_COUNT: Final = 3
# The longest time until the kernel retransmits, or probes a closed window again. It needs Linux 6.15 or later. On older
# kernels that time doubles up to two minutes, and a dead peer with a closed window is detected after three such probes.
RETRY_SECONDS: Final = KEEP_INTERVAL
# The time between two checks of a connection with data for the peer, and the number of consecutive checks at which the
# peer may owe acknowledgements. A dead peer is thus detected within 30 s. A single check doesn't suffice: the peer may
# have been silent because nothing was sent.
CHECK_SECONDS: Final = 5.0
OWING_CHECKS: Final = 3

_TCP_RTO_MAX_MS: Final = 44  # milliseconds; not in Python's `socket` yet
# These are four fields of Linux's struct tcp_info: probes (a byte), unacked, last_ack_recv (milliseconds),
# notsent_bytes.
_TCP_INFO: Final = struct.Struct("=3xB20xI28xI84xI")


class TcpInfo(NamedTuple):
    """What the kernel reports about a connection."""

    probes: int = 0  # consecutive window probes without an answer
    unacknowledged: int = 0  # segments
    silent: float = 0.0  # seconds since the peer's last acknowledgement
    unsent: int = 0  # bytes

    @property
    def waiting(self) -> bool:
        """Whether some data has not reached the peer."""
        return bool(self.unacknowledged or self.unsent)

    @property
    def owing(self) -> bool:
        """Whether the peer has unacknowledged data and has acknowledged nothing since the last check."""
        return self.unacknowledged > 0 and self.silent > CHECK_SECONDS

    @property
    def unresponsive(self) -> bool:
        """Whether the peer has left as many window probes unanswered, for as long, as keep-alive allows."""
        return self.probes >= KEEP_COUNT and self.silent > KEEP_COUNT * KEEP_INTERVAL


def read_tcp_info(sock: socket.socket) -> TcpInfo:
    """Return what the kernel reports, or all zeros on a system without TCP_INFO. Raises OSError."""
    if not hasattr(socket, "TCP_INFO"):
        return TcpInfo()
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    if len(info) < _TCP_INFO.size:
        return TcpInfo()
    probes, unacknowledged, silent, unsent = _TCP_INFO.unpack(info)
    return TcpInfo(probes, unacknowledged, silent / 1000, unsent)


def keep_alive(sock: socket.socket) -> None:
    """Turn TCP keep-alive on."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", KEEP_IDLE),
        ("TCP_KEEPALIVE", KEEP_IDLE),  # the name of TCP_KEEPIDLE on macOS
        ("TCP_KEEPINTVL", KEEP_INTERVAL),
        ("TCP_KEEPCNT", KEEP_COUNT),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    if hasattr(socket, "TCP_INFO"):  # Linux
        with contextlib.suppress(OSError):  # the kernel is older than 6.15
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, RETRY_SECONDS * 1000)
