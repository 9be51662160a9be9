"""What `epoll` is to a real loop: which of the virtual sockets that a loop watches are ready."""

import random
import selectors
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from simulator.errors import RealWorldReached


class Pollable(Protocol):
    """A virtual socket, as far as a poll is concerned."""

    def readiness(self, events: int) -> int:
        """Return which of these events, `selectors.EVENT_READ` and `selectors.EVENT_WRITE`, wouldn't block now."""


class Poll(selectors.BaseSelector):
    """A selector over the virtual sockets of one process. It never waits.

    It is level-triggered, as asyncio's selectors are: a socket is reported by each poll for as long as it is ready.
    The order of the sockets in one report is drawn, since no system promises any.

    Args:
        descriptors: the open sockets of the process, by their numbers.
        order: the random source for the order of a report.
        stir: is called when the next poll may report something that this one wouldn't.
    """

    def __init__(
        self, descriptors: Mapping[int, Pollable], order: random.Random, stir: Callable[[], object] = lambda: None
    ) -> None:
        self._descriptors = descriptors
        self._stir = stir
        self._order = order
        self._keys: dict[int, selectors.SelectorKey] = {}
        self.maybe: dict[int, None] = {}  # the watched descriptors that may be ready; a dict, as a set has no order

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a socket. Raises RealWorldReached for a descriptor that isn't one of a virtual socket."""
        number = _number(fileobj)
        if number not in self._descriptors:
            raise RealWorldReached(f"descriptor {number} isn't a virtual socket of this process")
        if number in self._keys:
            raise KeyError(f"descriptor {number} is watched already")
        return self._watch(number, fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Watch a socket no longer."""
        number = _number(fileobj)
        self.maybe.pop(number, None)
        return self._keys.pop(number)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a socket for something else."""
        number = _number(fileobj)
        if number not in self._keys:
            raise KeyError(f"descriptor {number} isn't watched")
        return self._watch(number, fileobj, events, data)

    def _watch(self, number: int, fileobj: Any, events: int, data: Any) -> selectors.SelectorKey:
        key = self._keys[number] = selectors.SelectorKey(fileobj, number, events, data)
        self.maybe[number] = None
        self._stir()
        return key

    def changed(self, number: int) -> None:
        """Look at a socket again with the next poll: it may have become ready."""
        if number in self._keys:
            self.maybe[number] = None
            self._stir()

    def forget(self, number: int) -> None:
        """Watch a socket no longer because it is closed, as the kernel does."""
        self._keys.pop(number, None)
        self.maybe.pop(number, None)

    @property
    def pending(self) -> bool:
        """Whether the next poll will report anything."""
        while self.maybe:
            number = next(iter(self.maybe))
            if self._events(number):
                return True
            del self.maybe[number]
        return False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the sockets that are ready now, whatever the time-out is."""
        if not self.maybe:
            return []
        found = [(self._keys[number], events) for number in self.maybe if (events := self._events(number))]
        self.maybe = {key.fd: None for key, _ in found}
        if len(found) > 1:
            self._order.shuffle(found)
        return found

    def _events(self, number: int) -> int:
        key, sock = self._keys.get(number), self._descriptors.get(number)
        return sock.readiness(key.events) if key is not None and sock is not None else 0

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return the watched sockets by their numbers."""
        return self._keys

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return how a socket is watched. Raises KeyError."""
        return self._keys[_number(fileobj)]

    def close(self) -> None:
        """Watch nothing any more."""
        self._keys.clear()
        self.maybe.clear()


def _number(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
