"""Whether the machine at the other end of a connection is still there, though it says nothing.

TCP keep-alive tells where nothing is on its way; the rest is read from the kernel (Linux): whoever lives acknowledges
what reaches it, and answers when asked whether its window is still closed, however long it doesn't read.
"""

import contextlib
import socket
import struct
from typing import Final, NamedTuple

# Keep-alive notices a peer that is gone within KEEP_IDLE + KEEP_COUNT * KEEP_INTERVAL = 25 s, and leaves one alone that
# lives and doesn't read (TCP_USER_TIMEOUT wouldn't).
KEEP_IDLE: Final = 10
KEEP_INTERVAL: Final = 5
KEEP_COUNT: Final = 3
# The longest pause until the kernel sends again, or asks again whether a window is still closed. Linux 6.15 and later;
# before, it doubles up to two minutes, and a peer that is gone behind a closed window is noticed after three of them.
RETRY_SECONDS: Final = KEEP_INTERVAL
# How often connections are looked at on which something waits for the peer, and at how many looks in a row it may owe
# acknowledgements: it is noticed within 30 s. One look doesn't tell: it may have been silent because nothing was sent.
LOOK_SECONDS: Final = 5.0
OWING_LOOKS: Final = 3

_TCP_RTO_MAX_MS: Final = 44  # milliseconds; not in Python's `socket` yet
# Of Linux' struct tcp_info: the byte probes, the words unacked, last_ack_recv (milliseconds), notsent_bytes.
_TCP_INFO: Final = struct.Struct("=3xB20xI28xI84xI")


class Look(NamedTuple):
    """What the kernel knows of a connection."""

    probes: int = 0  # questions in a row whether the window is still closed, without an answer
    unacknowledged: int = 0  # segments
    silent: float = 0.0  # seconds since the peer acknowledged anything
    unsent: int = 0  # bytes

    @property
    def waiting(self) -> bool:
        """Something has not reached the peer."""
        return bool(self.unacknowledged or self.unsent)

    @property
    def owing(self) -> bool:
        """The peer has acknowledged nothing since the last look, of something."""
        return self.unacknowledged > 0 and self.silent > LOOK_SECONDS

    @property
    def deaf(self) -> bool:
        """The peer leaves questions unanswered, as many and for as long as keep-alive allows."""
        return self.probes >= KEEP_COUNT and self.silent > KEEP_COUNT * KEEP_INTERVAL


def look(sock: socket.socket) -> Look:
    """Ask the kernel; where it doesn't say, nothing waits."""
    if not hasattr(socket, "TCP_INFO"):
        return Look()
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    if len(info) < _TCP_INFO.size:
        return Look()
    probes, unacknowledged, silent, unsent = _TCP_INFO.unpack(info)
    return Look(probes, unacknowledged, silent / 1000, unsent)


def keep_alive(sock: socket.socket) -> None:
    """Have the kernel look after the peer."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", KEEP_IDLE),
        ("TCP_KEEPALIVE", KEEP_IDLE),  # its name on macOS
        ("TCP_KEEPINTVL", KEEP_INTERVAL),
        ("TCP_KEEPCNT", KEEP_COUNT),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    if hasattr(socket, "TCP_INFO"):  # Linux
        with contextlib.suppress(OSError):  # too old
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, RETRY_SECONDS * 1000)
