"""Traces of a run: a hash that tells two histories apart, and the words for one."""

import asyncio
import functools
import hashlib
from collections.abc import Callable
from types import FunctionType
from typing import Final, Protocol

import msgspec

# The number of events that are put into the hash at once.
_AT_ONCE: Final = 200
# Writes an event, its time to the last bit among it, in one way only.
_ENCODER: Final = msgspec.msgpack.Encoder()


class Trace(Protocol):
    """Is told of everything that happens in a world, in order."""

    def __call__(self, when: float, where: str, what: str) -> None:
        """Take note of one event: its true time, the process or the part of the world, and what happens."""


class TraceHash:
    """A hash over all events of a run. Two runs with the same hash had the same history."""

    def __init__(self) -> None:
        self.fresh: list[tuple[float, str, str]] = []  # isn't in the hash yet: many at once are faster
        self._hashed = 0  # the number of events that are
        self._hash = hashlib.blake2b(digest_size=16)

    def __call__(self, when: float, where: str, what: str) -> None:
        """Add one event."""
        self.fresh.append((when, where, what))

    def catch_up(self) -> None:
        """Hash the complete blocks of events. Their size is fixed, so it doesn't matter when this is called."""
        while len(self.fresh) >= _AT_ONCE:
            self._hash.update(_ENCODER.encode(self.fresh[:_AT_ONCE]))
            self._hashed += _AT_ONCE
            del self.fresh[:_AT_ONCE]

    @property
    def events(self) -> int:
        """The number of events so far."""
        return self._hashed + len(self.fresh)

    def hexdigest(self) -> str:
        """Return the hash of all events so far."""
        self.catch_up()
        hashed = self._hash.copy()
        hashed.update(_ENCODER.encode(self.fresh))
        return hashed.hexdigest()


def name_of(callback: Callable[..., object]) -> str:
    """Return the name of a callback, without anything that differs between two runs, such as an address in memory."""
    if type(callback) is not FunctionType:
        while type(callback) is functools.partial:
            callback = callback.func
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.Task):
            label: str | None = getattr(owner, "label", None)
            return label or owner.get_name()
    return getattr(callback, "__qualname__", None) or type(callback).__qualname__
