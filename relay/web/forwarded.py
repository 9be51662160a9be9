"""Finds a client's address and scheme in what a trusted proxy says of it."""

import ipaddress
from collections.abc import Iterable
from typing import Final

_SCHEMES: Final = ("http", "https")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxies:
    """The networks of `--trusted-proxy`. Nobody else's `X-Forwarded-For` is believed: every client can send one."""

    def __init__(self, networks: Iterable[str]) -> None:
        """Each network is `address/bits`, or one address. Raises ValueError."""
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def trusts(self, address: str) -> bool:
        """Return whether this address is a trusted proxy's."""
        parsed = _parse(address)
        return parsed is not None and self._has(parsed)

    def client(self, address: str, forwarded: Iterable[str]) -> str:
        """Return the client's address: the last one of `X-Forwarded-For` that isn't trusted itself.

        If all of them are trusted, it is the first one. An entry that is no address ends the search, because the proxy
        that wrote it doesn't tell.
        """
        found = address
        if not self._networks or not self.trusts(address):
            return found
        for entry in reversed(",".join(forwarded).split(",")):
            if not entry.strip():
                continue  # lists may have empty elements
            parsed = _parse(entry.strip())
            if parsed is None:
                break
            found = str(parsed)
            if not self._has(parsed):
                break
        return found

    def scheme(self, address: str, said: Iterable[str], scheme: str) -> str:
        """Return the scheme of `X-Forwarded-Proto`, by which the client reached the proxy, or else `scheme`."""
        if self._networks and self.trusts(address):
            last = ",".join(said).rpartition(",")[2].strip().lower()
            if last in _SCHEMES:
                return last
        return scheme

    def _has(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _parse(text: str) -> Address | None:
    """Return an address that may have a port behind it, or None for any other text."""
    bare = text
    if text.startswith("["):
        bare = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        bare = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
