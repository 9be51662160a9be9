"""The header in which a balancer says whose connection this is: version 2 of the PROXY protocol. No I/O.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, section 2.2. Version 1 (a line of text) isn't understood.
"""

import socket
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
PREFIX_BYTES: Final = len(SIGNATURE) + 4  # version and command, family and transport, length of the rest
# Addresses take 36 bytes. What else a balancer may want to say (names, certificates) is skipped, up to so much.
REST_BYTES: Final = 4096

_LOCAL, _PROXY = 0x20, 0x21  # version 2; of the balancer itself, or for a client
_UNSPECIFIED, _UNIX = 0x00, 0x31
_SIZES: Final = {0x11: (socket.AF_INET, 4, 12), 0x21: (socket.AF_INET6, 16, 36)}  # over TCP: of one address, of all


class BadHeader(Exception):
    """Not a header, or not one that can be for this connection."""


def check(start: bytes) -> None:
    """Raise BadHeader if no header starts so; of a whole prefix, if its rest would be too long."""
    if not SIGNATURE.startswith(start[: len(SIGNATURE)]):
        raise BadHeader("this is no header of the PROXY protocol, version 2")
    if len(start) >= PREFIX_BYTES and rest_bytes(start) > REST_BYTES:
        raise BadHeader("the header is too long")


def rest_bytes(prefix: bytes | bytearray) -> int:
    """How many bytes follow on the prefix."""
    return int.from_bytes(prefix[PREFIX_BYTES - 2 : PREFIX_BYTES], "big")


def source(header: bytes) -> str | None:
    """The client's address, from a whole header; None if the balancer speaks for itself, or doesn't say.

    Raises BadHeader.
    """
    check(header)
    if len(header) < PREFIX_BYTES or len(header) != PREFIX_BYTES + rest_bytes(header):
        raise BadHeader("the header isn't whole")
    command, family = header[len(SIGNATURE)], header[len(SIGNATURE) + 1]
    if command == _LOCAL or (command == _PROXY and family in (_UNSPECIFIED, _UNIX)):
        return None
    if command != _PROXY or family not in _SIZES:
        raise BadHeader("the header is of another protocol")
    kind, size, least = _SIZES[family]
    if rest_bytes(header) < least:
        raise BadHeader("the header lacks its addresses")
    return socket.inet_ntop(kind, header[PREFIX_BYTES : PREFIX_BYTES + size])
