"""This module parses server addresses: `host:port`, or the URL of a WebSocket."""

from ipaddress import IPv6Address
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from pairchat.errors import BadServer

DEFAULT_PORT = 9999  # the default port of `relay node`
DEFAULT_PATH: Final = "/ws"  # where nodes speak WebSocket
_WEB_PORTS: Final = {"ws": 80, "wss": 443}
_MAX_PORT = 65_535


class Address(NamedTuple):
    """A host name or address, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return authority(self.host, self.port)


class WebAddress(NamedTuple):
    """The URL of a WebSocket."""

    host: str
    port: int
    secure: bool  # inside TLS
    written: str = ""  # the path as the user wrote it
    query: str = ""

    @property
    def path(self) -> str:
        """The path to ask for."""
        return DEFAULT_PATH if self.written in ("", "/") else self.written

    @property
    def authority(self) -> str:
        """The host and the port as HTTP writes them, in ASCII."""
        return authority(ascii_host(self.host), self.port)

    def __str__(self) -> str:
        """Return the URL without its query, which may hold a secret."""
        scheme = "wss" if self.secure else "ws"
        where = authority(self.host, self.port).removesuffix(f":{_WEB_PORTS[scheme]}")
        return f"{scheme}://{where}{self.written}"


Server = Address | WebAddress


def authority(host: str, port: int) -> str:
    """Return `host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def ascii_host(host: str) -> str:
    """Return a host name as the name system has it."""
    return host.encode("idna").decode()


def parse_address(server: str) -> Server:
    """Parse an address. The default port is 9999, and for a URL that of its scheme.

    Raises `BadServer` with one line that says what is wrong.
    """
    server = server.strip()
    if "://" in server:
        return _parse_url(server)
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
    _check_host(host)
    if not (port.isascii() and port.isdecimal() and 1 <= int(port[:6]) <= _MAX_PORT):
        raise BadServer(f"not a port: {port!r} (1 to {_MAX_PORT})")
    return Address(host, int(port))


def _check_host(host: str) -> None:
    try:
        host.encode("idna")
    except UnicodeError:
        raise BadServer(f"not a host name: {host!r}") from None


def _parse_url(url: str) -> WebAddress:
    scheme = url.partition("://")[0].lower()
    shown = repr(url) if "@" not in url else "this URL"  # it may have a password
    if scheme not in _WEB_PORTS:
        raise BadServer(f"not an address: {shown} (write host:port, ws://host/path or wss://host/path)")
    if not url.isprintable() or " " in url:
        raise BadServer(f"not an address: {shown} (no white space, and no control characters)")
    if "#" in url:
        raise BadServer(f"not an address: {shown} (an address has no part after #)")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadServer(f"not an address: {shown} (write {scheme}://host:port/path, and IPv6 as [::1])") from None
    if "@" in parts.netloc:
        raise BadServer(f"a user name or a password can't be in an address (write {scheme}://host/path)")
    if not (parts.path + parts.query).isascii():
        raise BadServer(f"not an address: {shown} (characters of the path that are not ASCII are written %XX)")
    return WebAddress(
        _host(parts, shown),
        _WEB_PORTS[scheme] if port is None else port,
        scheme == "wss",
        parts.path,
        parts.query,
    )


def _host(parts: SplitResult, shown: str) -> str:
    host = parts.hostname
    if not host or parts.port == 0:
        raise BadServer(f"not an address: {shown} (write {parts.scheme}://host:port/path)")
    if ":" in host:
        try:
            address = IPv6Address(host)
        except ValueError:
            address = None
        if address is None or address.scope_id is not None:
            raise BadServer(f"not an address: {shown} (IPv6 is written {parts.scheme}://[::1])")
        return str(address)
    _check_host(host)
    return host
