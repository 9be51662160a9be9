"""Traces of a run: a hash that tells two histories apart, and the words for one."""

import asyncio
import functools
import hashlib
from collections.abc import Callable
from typing import Protocol


class Trace(Protocol):
    """Is told of everything that happens in a world, in order."""

    def __call__(self, when: float, where: str, what: str) -> None:
        """Take note of one event: its true time, the process or the part of the world, and what happens."""


class TraceHash:
    """A hash over all events of a run. Two runs with the same hash had the same history."""

    def __init__(self) -> None:
        self.events = 0
        self._hash = hashlib.blake2b(digest_size=16)

    def __call__(self, when: float, where: str, what: str) -> None:
        """Add one event."""
        self.events += 1
        self._hash.update(f"{when!r} {where} {what}\n".encode())

    def hexdigest(self) -> str:
        """Return the hash of all events so far."""
        return self._hash.hexdigest()


def name_of(callback: Callable[..., object]) -> str:
    """Return the name of a callback, without anything that differs between two runs, such as an address in memory."""
    while isinstance(callback, functools.partial):
        callback = callback.func
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        coroutine = owner.get_coro()
        return f"{owner.get_name()} {getattr(coroutine, '__qualname__', type(coroutine).__qualname__)}"
    return getattr(callback, "__qualname__", None) or type(callback).__qualname__
