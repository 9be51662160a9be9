"""This module parses server addresses: `host`, `host:port` or `[IPv6]:port`."""

from typing import NamedTuple

from pairchat.errors import BadServer

DEFAULT_PORT = 9999  # the default port of `relay node`
_MAX_PORT = 65_535


class Address(NamedTuple):
    """A host name or address, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(server: str) -> Address:
    """Parse an address. The default port is 9999. Raises `BadServer` with one line that says what is wrong."""
    server = server.strip()
    if server.startswith("["):
        host, bracket, rest = server[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise BadServer(f"not an address: {server!r} (IPv6 is written [::1]:{DEFAULT_PORT})")
        port = rest[1:] if rest else str(DEFAULT_PORT)
    else:
        host, colon, port = server.partition(":")
        port = port if colon else str(DEFAULT_PORT)
        if ":" in port:
            raise BadServer(f"not an address: {server!r} (IPv6 is written [::1]:{DEFAULT_PORT})")
    if not host or not host.isprintable() or " " in host:
        raise BadServer(f"not an address: {server!r} (write host:port)")
    try:
        host.encode("idna")
    except UnicodeError:
        raise BadServer(f"not a host name: {host!r}") from None
    if not (port.isascii() and port.isdecimal() and 1 <= int(port[:6]) <= _MAX_PORT):
        raise BadServer(f"not a port: {port!r} (1 to {_MAX_PORT})")
    return Address(host, int(port))
