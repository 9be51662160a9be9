"""This module resolves host names on daemon threads.

The system's resolver can't be interrupted, and takes half a minute if no name server answers. A thread of the event
loop's own pool would delay the end of the program for as long.
"""

import socket
import threading
from contextlib import suppress
from ipaddress import ip_address

import anyio

from pairchat.entropy import rank


async def addresses(host: str) -> list[str]:
    """Return the addresses of a host, in the system's order of preference. Raises OSError.

    A cancellation takes effect at once. The lookup then goes on in its thread, and the next call for the same host
    waits for it instead of starting another one.
    """
    with suppress(ValueError):
        return [str(ip_address(host))]
    lookup = _begin(host)
    ours, theirs = socket.socketpair()
    try:
        ours.setblocking(False)
        lookup.call(theirs)
        await anyio.wait_readable(ours)
    finally:
        lookup.leave(theirs)
        ours.close()
    if lookup.error is not None:
        raise lookup.error
    return lookup.found


class _Lookup:
    """One question to the system's resolver."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.found: list[str] = []
        self.error: OSError | None = None
        self._done = False
        self._waiting: list[socket.socket] = []  # closed at the end of the lookup, which wakes the waiting tasks

    def call(self, end: socket.socket) -> None:
        """Close `end` when the lookup is done, or at once if it is."""
        with _lock:
            if not self._done:
                self._waiting.append(end)
                return
        end.close()

    def leave(self, end: socket.socket) -> None:
        """Close `end`, because its task no longer waits."""
        with _lock:
            if end in self._waiting:
                self._waiting.remove(end)
        end.close()

    def run(self) -> None:
        try:
            known = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
            self.found = list(dict.fromkeys(str(address[0]) for *_, address in known))
        except OSError as error:
            self.error = error
        except UnicodeError:
            self.error = OSError("it is not a host name")
        with _lock:
            _running.pop(self.host, None)
            self._done = True
            for end in self._waiting:
                end.close()


_lock = threading.Lock()
_running: dict[str, _Lookup] = {}  # lookups under way, one thread for each host


def _begin(host: str) -> _Lookup:
    with _lock:
        lookup = _running.get(host)
        if lookup is None:
            lookup = _running[host] = _Lookup(host)
            threading.Thread(target=lookup.run, name=f"resolve {host}", daemon=True).start()
    return lookup


def in_turn(found: list[str], seed: float) -> list[str]:
    """Return the addresses of one host in the order in which to try them.

    IPv6 and IPv4 alternate, beginning with the system's preference, so that the client soon tries the other family if
    one doesn't work (RFC 8305). Within each family the order is random, so that clients spread over the nodes behind
    one name. It depends on the seed only, not on the order of the name server's answers (round-robin DNS), so that the
    address after the lost one is a different one.
    """
    mixed = sorted(found, key=lambda address: rank(f"{seed} {address}"))
    first = [one for one in mixed if (":" in one) == (":" in found[0])]
    second = [one for one in mixed if one not in first]
    pairs = [one for pair in zip(first, second, strict=False) for one in pair]
    return pairs + first[len(second) :] + second[len(first) :]
