"""Host names to addresses, on threads that nobody waits for.

The system's resolver can't be interrupted, and takes half a minute where no name server answers. A thread of the event
loop's own pool would hold up the end of the program for as long.
"""

import random
import socket
import threading
from contextlib import suppress
from ipaddress import ip_address

import anyio


async def addresses(host: str) -> list[str]:
    """The addresses of a host, in the system's order of preference. Raises OSError.

    Whoever is cancelled here leaves at once; a lookup that is under way goes on by itself, and the next one who asks
    for the same host waits for it instead of beginning another.
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
        self._waiting: list[socket.socket] = []  # closed when this is done, which wakes those at the other ends

    def call(self, end: socket.socket) -> None:
        """Close this when there is an answer."""
        with _lock:
            if not self._done:
                self._waiting.append(end)
                return
        end.close()

    def leave(self, end: socket.socket) -> None:
        """Nobody waits at the other end any more."""
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
_running: dict[str, _Lookup] = {}  # one thread a host, however often it is asked for


def _begin(host: str) -> _Lookup:
    with _lock:
        lookup = _running.get(host)
        if lookup is None:
            lookup = _running[host] = _Lookup(host)
            threading.Thread(target=lookup.run, name=f"resolve {host}", daemon=True).start()
    return lookup


def in_turn(found: list[str], seed: float) -> list[str]:
    """The order in which the addresses of one host are to be tried.

    IPv6 and IPv4 take turns, and the system says which of them begins: where one kind leads nowhere, the other's turn
    comes soon (RFC 8305). Within each kind the order is a random one, so that clients spread over the nodes behind one
    name. It is the same order for the same seed, however the name server turns its answers, so that the address behind
    the one that was lost is another one.
    """
    mixed = sorted(found, key=lambda address: random.Random(f"{seed} {address}").random())
    first = [one for one in mixed if (":" in one) == (":" in found[0])]
    second = [one for one in mixed if one not in first]
    pairs = [one for pair in zip(first, second, strict=False) for one in pair]
    return pairs + first[len(second) :] + second[len(first) :]
