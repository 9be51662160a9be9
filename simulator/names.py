"""The name server of the virtual network: what each name means now, which may be something else later, or nothing."""

import ipaddress
import socket
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

# How long a look-up takes: the shortest and the longest time.
LOOKUP_SECONDS: Final = (0.000_2, 0.003)

_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


class Names:
    """What each name means now. A harness changes it whenever it likes."""

    def __init__(self) -> None:
        self._addresses: dict[str, list[str]] = {}
        self._errors: dict[str, int] = {}
        self.hanging: set[str] = set()  # names for which nobody answers; "*" is each name
        self.seconds = LOOKUP_SECONDS

    def set(self, name: str, *addresses: str) -> None:
        """Let a name mean these addresses, in this order, from now on."""
        self._errors.pop(name, None)
        self._addresses[name] = list(addresses)

    def fail(self, name: str, error: int = socket.EAI_NONAME) -> None:
        """Let look-ups of a name fail, by default as there is no such name. `socket.EAI_AGAIN` is a passing fault."""
        self._errors[name] = error

    def heal(self, name: str) -> None:
        """Let look-ups of a name find again what it means."""
        self._errors.pop(name, None)

    def hangs(self, name: str) -> bool:
        """Return whether nobody answers for this name."""
        return name in self.hanging or "*" in self.hanging

    def addresses(self, name: str) -> list[str]:
        """Return the addresses of a name. Raises `socket.gaierror`."""
        if name in self._errors:
            raise _error(self._errors[name])
        if not self._addresses.get(name):
            raise _error(socket.EAI_NONAME)
        return self._addresses[name]


@lru_cache  # each connection asks for a few of them
def numeric(host: str) -> str | None:
    """Return the usual form of a numeric address, or None for a name."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None


def port_number(port: bytes | str | int | None) -> int:
    """Return a port as a number: there are no services with names. Raises `socket.gaierror`."""
    try:
        return int(port or 0)
    except ValueError:
        raise _error(socket.EAI_SERVICE) from None


def infos(addresses: Iterable[str], port: int, family: int, kind: int) -> list[Any]:
    """Return what `socket.getaddrinfo` says of these addresses. Raises `socket.gaierror` if none is of the family."""
    if kind not in (0, socket.SOCK_STREAM):
        raise _error(socket.EAI_SOCKTYPE)
    found = []
    for address in addresses:
        its = _FAMILIES[ipaddress.ip_address(address).version]
        if family in (socket.AF_UNSPEC, its):
            place = (address, port, 0, 0) if its == socket.AF_INET6 else (address, port)
            found.append((its, socket.SOCK_STREAM, int(socket.IPPROTO_TCP), "", place))
    if not found:
        raise _error(getattr(socket, "EAI_ADDRFAMILY", socket.EAI_NONAME))
    return found


def no_name() -> socket.gaierror:
    """Return the error for a name where only a numeric address may stand."""
    return _error(socket.EAI_NONAME)


def _error(number: int) -> socket.gaierror:
    words = {socket.EAI_AGAIN: "Temporary failure in name resolution", socket.EAI_NONAME: "Name or service not known"}
    return socket.gaierror(number, words.get(number, "Name resolution failed"))
