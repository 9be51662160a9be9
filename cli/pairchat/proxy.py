"""This module decides which HTTP proxy leads to a WebSocket. No message and no repr has the password of a proxy."""

from base64 import b64encode
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from pairchat.address import WebAddress, authority
from pairchat.errors import BadSettings

NONE: Final = "none"  # instead of a proxy's URL: use none, whatever the environment says
_PORTS: Final = {"http": 80, "https": 443}


class Proxy:
    """An HTTP proxy. `credentials` is the value of `Proxy-Authorization`, or None."""

    def __init__(self, host: str, port: int, *, secure: bool, credentials: str | None = None) -> None:
        self.host = host
        self.port = port
        self.secure = secure  # the proxy itself speaks TLS
        self.credentials = credentials

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{authority(self.host, self.port)}"


def parse_proxy(url: str, source: str) -> Proxy:
    """Parse the URL of a proxy, which came from `source`. Without a scheme it is `http`. Raises `BadSettings`.

    The message has nothing of the URL, because any part of a malformed one may be the password.
    """
    usage = f"{source} has no proxy's address; write http://host:port or https://host:port"
    try:
        parts = urlsplit(url.strip() if "://" in url else f"http://{url.strip()}")
        port, host = parts.port, parts.hostname or ""
        if ":" in host:
            host = str(IPv6Address(host))
        host.encode("idna")
    except (ValueError, UnicodeError):
        raise BadSettings(usage) from None
    if parts.scheme not in _PORTS:
        raise BadSettings(f"{source} names a proxy that doesn't speak HTTP (http:// and https:// are possible)")
    if not host or port == 0 or not host.isprintable() or " " in host:
        raise BadSettings(usage)
    return Proxy(
        host,
        _PORTS[parts.scheme] if port is None else port,
        secure=parts.scheme == "https",
        credentials=_credentials(parts.username, parts.password),
    )


def _credentials(user: str | None, password: str | None) -> str | None:
    if user is None:
        return None
    both = unquote_to_bytes(user) + b":" + unquote_to_bytes(password or "")
    return f"Basic {b64encode(both).decode()}"


def proxy_for(server: WebAddress, given: str | None = None) -> Proxy | None:
    """Return the proxy for a server, or None. `given` overrides the environment: a URL, or `none`.

    Raises `BadSettings` for a proxy that can't be used.
    """
    if given is not None:
        return None if given.strip().lower() in ("", NONE) else parse_proxy(given, "--proxy")
    # The import is slow, and few need it. The stubs lack the second name, which is public on every system.
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

    known = getproxies_environment()
    # Python compares the host with and without its port. It takes an IPv6 address without brackets for neither.
    if any(proxy_bypass_environment(name, known) for name in (server.authority, server.host)):
        return None
    for scheme in ("https" if server.secure else "http", "all"):
        if scheme in known:
            return parse_proxy(known[scheme], f"{scheme}_proxy".upper())
    return None
