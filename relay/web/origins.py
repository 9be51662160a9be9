"""Decides which web pages may talk to this node, and under which names it may be called.

A browser lets a page open a WebSocket anywhere, and says in `Origin` which page it is. A program sends no `Origin`.
"""

import ipaddress
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

ANY: Final = "*"
# The origin of a page that has none, such as a file or a sandboxed frame. It is nobody in particular.
NULL: Final = "null"
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^\s/@:\[\]?#\\]+))(?::(?P<port>[0-9]{0,5}))?")


class Origin(NamedTuple):
    """The origin of a page. Two spellings of the same one are equal."""

    scheme: str
    host: str
    port: int | None  # None: the scheme has no usual port, and none is given

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port != _PORTS.get(self.scheme) else "")


def parse(text: str) -> Origin | None:
    """Return the origin that is written so, or None if this is no origin, or `null`."""
    scheme, separator, rest = text.lower().partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        return None
    return _origin(scheme, rest)


def own(scheme: str, host: str) -> Origin | None:
    """Return the origin of this node's own pages, for a client that calls the node by this host and port."""
    return _origin(scheme, host.lower())


def _origin(scheme: str, authority: str) -> Origin | None:
    found = _HOST.fullmatch(authority)
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else _PORTS.get(scheme)
    host = found["name"]
    if host is None:
        try:
            host = str(ipaddress.IPv6Address(found["v6"]))
        except ValueError:
            return None
    return Origin(scheme, host, port)


def is_loopback(host: str) -> bool:
    """Return whether a host's name always means the machine on which it is used."""
    name = host.removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # Python looks into these from 3.13 on
    return address.is_loopback or (mapped is not None and mapped.is_loopback)


class OriginRules:
    """What `--origin` says.

    Args:
        allowed: origins, or `*` for any.
        loopback: the node listens on a loopback address. It can then be called by loopback names only, and by the hosts
            of allowed origins: a name that an attacker's DNS points at this machine is none of them.
        siblings: the ports of nodes that were started with this one, whose pages may talk to it as its own may.
    """

    def __init__(self, allowed: Iterable[str], *, loopback: bool, siblings: Collection[int] = ()) -> None:
        allowed = set(allowed)
        self._any = ANY in allowed
        self._null = NULL in allowed
        self._allowed = {origin for text in allowed if (origin := parse(text)) is not None}
        self._hosts = {origin.host for origin in self._allowed}
        self._loopback = loopback
        self._siblings = siblings

    def refuses_host(self, host: str | None) -> bool:
        """Return whether the node must not be called by the name that a client gives in `Host`."""
        if not self._loopback or self._any or host is None:
            return False
        called = own("http", host)
        return called is None or not (is_loopback(called.host) or called.host in self._hosts)

    def refuses_origin(self, said: Sequence[str], host: str | None, scheme: str) -> bool:
        """Return whether a page may not talk to the node. `said` are the values of its `Origin`.

        The node's own pages may: those of `host`, which the client named, reached over `scheme`.
        """
        if not said or self._any:
            return False
        if len(said) > 1:
            return True
        if said[0] == NULL:
            return not self._null
        origin = parse(said[0])
        if origin is None:
            return True
        mine = own(scheme, host) if host is not None else None
        return origin not in self._allowed and origin != mine and not self._is_sibling(origin, mine)

    def _is_sibling(self, origin: Origin, mine: Origin | None) -> bool:
        return mine is not None and origin == mine._replace(port=origin.port) and origin.port in self._siblings
