"""Parses the header in which a load balancer gives the client's address: the PROXY protocol, version 2. No I/O.

The format is https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, section 2.2. Version 1, a line of text, isn't
supported.
"""

import socket
from typing import Final, NamedTuple

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
PREFIX_BYTES: Final = len(SIGNATURE) + 4  # version and command, family and transport, length of the rest
# Addresses take 36 bytes. Other data from a load balancer (names, certificates) is skipped, up to this size.
REST_BYTES: Final = 4096

_LOCAL, _PROXY = 0x20, 0x21  # version 2: a connection of the balancer itself, or one for a client
_UNSPECIFIED, _UNIX = 0x00, 0x31


class _Family(NamedTuple):
    """An address family, over TCP."""

    number: socket.AddressFamily
    address_bytes: int
    both_bytes: int  # two addresses and two ports


_FAMILIES: Final = {0x11: _Family(socket.AF_INET, 4, 12), 0x21: _Family(socket.AF_INET6, 16, 36)}


class BadHeader(Exception):
    """The bytes aren't a header, or it can't be for a TCP connection over IP."""


def check(start: bytes) -> None:
    """Raise BadHeader as soon as no valid header can begin with these bytes."""
    if not SIGNATURE.startswith(start[: len(SIGNATURE)]):
        raise BadHeader("this is no header of the PROXY protocol, version 2")
    command, family, size = start[12:13], start[13:14], start[14:PREFIX_BYTES]
    if command and command[0] not in (_LOCAL, _PROXY):
        raise BadHeader("the header is of another version, or asks for something else")
    for_client = bool(family) and command[0] == _PROXY
    if for_client and family[0] not in (_UNSPECIFIED, _UNIX, *_FAMILIES):
        raise BadHeader("the header is of another protocol")
    if int.from_bytes(size.ljust(2, b"\0"), "big") > REST_BYTES:
        raise BadHeader("the header is too long")
    if for_client and family[0] in _FAMILIES and len(size) == 2 and rest_bytes(start) < _FAMILIES[family[0]].both_bytes:
        raise BadHeader("the header lacks its addresses")


def rest_bytes(prefix: bytes | bytearray) -> int:
    """Return how many bytes follow the prefix."""
    return int.from_bytes(prefix[PREFIX_BYTES - 2 : PREFIX_BYTES], "big")


def source(header: bytes) -> str | None:
    """Return the client's address from a complete header.

    Returns None if the connection is the load balancer's own (a health check), or if the header gives no address.

    Raises:
        BadHeader: the header is malformed or incomplete.
    """
    check(header)
    if len(header) < PREFIX_BYTES or len(header) != PREFIX_BYTES + rest_bytes(header):
        raise BadHeader("the header isn't whole")
    command, family = header[len(SIGNATURE)], header[len(SIGNATURE) + 1]
    if command == _LOCAL or family not in _FAMILIES:
        return None
    addresses = _FAMILIES[family]
    return socket.inet_ntop(addresses.number, header[PREFIX_BYTES : PREFIX_BYTES + addresses.address_bytes])
