"""Looks up the addresses of a host name again for each connection."""

import asyncio
import socket
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any, Final, NamedTuple

import anyio

from relay.net.outgoing_sockets import outgoing_sockets
from relay.tasks.threads import in_thread

# How long a look-up may take. A name server that answers at all takes some milliseconds.
LOOKUP_SECONDS: Final = 2.0
# How long a look-up may take before the name's former addresses are used, if there are any.
STALE_SECONDS: Final = 0.5
# The maximum number of addresses of one name that are tried.
ADDRESSES: Final = 16
# The maximum number of names whose last addresses are remembered. It is far more than any installation has, and bounds
# what a cluster may announce.
NAMES: Final = 1024


class Place(NamedTuple):
    """The address that a socket connects to."""

    family: int
    address: Any  # as `socket.connect` takes it


class Lookup:
    """Looks up names. Each name has one look-up under way at a time, however many callers wait for it."""

    def __init__(self) -> None:
        self._under_way: dict[tuple[str, int], asyncio.Future[list[Place]]] = {}
        self._before: dict[tuple[str, int], list[Place]] = {}

    async def places(self, host: str, port: int) -> list[Place]:
        """Return the addresses of a name, the one that served last time first. Raises OSError, TimeoutError."""
        with suppress(OSError):
            return _places(host, port, socket.AI_NUMERICHOST)
        key = host, port
        before = self._before.get(key, [])
        with anyio.move_on_after(STALE_SECONDS if before else LOOKUP_SECONDS):
            found = await asyncio.shield(self._asking(key))
            first = [place for place in before[:1] if place in found]
            found = [*first, *(place for place in found if place not in first)]
            self._remember(key, found)
            return found
        if before:
            return before
        raise TimeoutError(f"no name server has answered within {LOOKUP_SECONDS:g} s")

    def prefer(self, host: str, port: int, place: Place) -> None:
        """Note that this address served, so that it comes first from now on."""
        before = self._before.get((host, port))
        if before is not None and place in before:
            before.remove(place)
            before.insert(0, place)

    def _asking(self, key: tuple[str, int]) -> "asyncio.Future[list[Place]]":
        asking = self._under_way.get(key)
        if asking is None:
            asking = self._under_way[key] = in_thread(lambda: _places(*key))
            asking.add_done_callback(lambda _: self._under_way.pop(key, None))
        return asking

    def _remember(self, key: tuple[str, int], places: list[Place]) -> None:
        if len(self._before) >= NAMES:
            self._before.clear()
        self._before[key] = places


def _places(host: str, port: int, flags: int = 0) -> list[Place]:
    """Return the addresses in the order of RFC 8305, with alternating families."""
    found = [
        Place(one[0], one[4]) for one in outgoing_sockets.addresses(host, port, type=socket.SOCK_STREAM, flags=flags)
    ]
    first = [place for place in found if place.family == found[0].family]
    others = [place for place in found if place.family != found[0].family]
    return [place for place in chain(*zip_longest(first, others)) if place is not None][:ADDRESSES]
