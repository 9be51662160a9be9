"""Keeps the real world out of a simulation, and gives libraries the virtual one where they ask for the real one.

The relay has seams for its clock, its ids and its connections. Libraries have none, and a seam may be missed. While a
world runs, therefore:

- the functions of `time`, those of `random`, `os.urandom` and all that is made of it are those of the world;
- `anyio.to_thread.run_sync` runs functions as `run_in_executor` of the virtual loop does;
- the hash of objects that libraries keep in sets is a number instead of an address in memory;
- a real socket, thread, process or name look-up raises RealWorldReached. Python's audit events tell of most of them,
  wherever they are asked for, and the run fails even if the program catches the error.

`datetime.now()` can't be replaced, and no audit event tells of it: the lint has to.
"""

import asyncio
import contextvars
import math
import os
import random
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NoReturn

import anyio
from anyio._backends import _asyncio as anyio_backend

from simulator.errors import RealWorldReached

if TYPE_CHECKING:
    from simulator.world import World

# The audit events that may not occur while a world runs, and what a program that causes one wants.
FORBIDDEN: Final = {
    "socket.__new__": "a real socket",
    "socket.getaddrinfo": "the real name server",
    "socket.getnameinfo": "the real name server",
    "socket.gethostbyname": "the real name server",
    "socket.gethostbyaddr": "the real name server",
    "_thread.start_new_thread": "a real thread",
    "_thread.start_joinable_thread": "a real thread",
    "subprocess.Popen": "a real process",
    "os.fork": "a real process",
    "os.forkpty": "a real process",
    "os.posix_spawn": "a real process",
    "os.system": "a real process",
    "os.exec": "a real process",
    "os.kill": "a real process",
}

# Classes of libraries whose objects are kept in sets that are iterated over: the transports of a server. The child
# scopes of a scope are in a set as well, but have no place for a number: see `_numbered_scope`.
IN_SETS: Final[tuple[type, ...]] = (
    asyncio.selector_events._SelectorTransport,  # type: ignore[attr-defined]
)

_guarding: list[tuple["World", int]] = []  # the world that runs, and its thread; at most one
_hooks: list[Callable[[str, Any], None]] = []  # ours, once it is installed: Python can't take a hook out again


def _audit(event: str, _: Any) -> None:
    # Without a world this looks no further, also while Python ends and has forgotten the rest of this module.
    if _guarding and event in FORBIDDEN and _guarding[0][1] == threading.get_ident():
        _guarding[0][0].substitutes.refuse(f"{FORBIDDEN[event]} ({event})")


def _who(world: "World") -> str:
    return world.current.name if world.current is not None else "the harness"


class Substitutes:
    """What one world gives libraries for the functions of the real world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._bytes = world.stream("os.urandom")
        self._global = world.stream("random").getstate()  # the state of the functions of `random`
        self._counts: dict[type, count[int]] = {}  # each class counts for itself: Python's releases keep others in sets
        self._numbers: dict[int, tuple[int, object]] = {}
        clocks = {"time": self._time_of_day, "monotonic": self._monotonic, "perf_counter": self._monotonic}
        clocks |= {"process_time": self._monotonic, "thread_time": self._monotonic}
        self._functions: list[tuple[Any, str, Any]] = [(time, name, clock) for name, clock in clocks.items()]
        self._functions += [(time, f"{name}_ns", partial(_in_ns, clock)) for name, clock in clocks.items()]
        self._functions += [
            (time, "clock_gettime", self._clock_gettime),
            (time, "clock_gettime_ns", lambda number: round(1e9 * self._clock_gettime(number))),
            (time, "sleep", lambda _: self.refuse("to block (time.sleep)")),
            (threading.Thread, "start", self._refusing("a real thread", threading.Thread.start)),
            (socket, "socketpair", self._refusing("a real pair of sockets", socket.socketpair)),
            (os, "urandom", self._bytes.randbytes),
            (random, "_urandom", self._bytes.randbytes),
            (anyio_backend.AsyncIOBackend, "run_sync_in_worker_thread", classmethod(_run_in_virtual_thread)),
        ]
        self._functions.append((anyio_backend, "CancelScope", _numbered_scope()))
        self._functions += [(kind, "__hash__", self._numbering()) for kind in (*IN_SETS, *world.in_sets)]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put all of them into place, and the real ones back at the end."""
        before = [(owner, name, _present(owner, name)) for owner, name, _ in self._functions]
        outside = random.getstate()
        random.setstate(self._global)
        for owner, name, function in self._functions:
            setattr(owner, name, function)
        try:
            yield
        finally:
            for owner, name, function in reversed(before):
                setattr(owner, name, function)
            self._global = random.getstate()
            random.setstate(outside)

    def _monotonic(self) -> float:
        process = self._world.current
        return process.clock.monotonic() if process is not None else self._world.now

    def _time_of_day(self) -> float:
        process = self._world.current
        return process.clock.time_of_day() if process is not None else self._world.time_of_day

    def _clock_gettime(self, number: int) -> float:
        return self._time_of_day() if number == time.CLOCK_REALTIME else self._monotonic()

    def refuse(self, what: str) -> NoReturn:
        world = self._world
        world.reached = world.reached or RealWorldReached(f"{_who(world)} asks for {what}")
        raise world.reached

    def _refusing(self, what: str, real: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that refuses in the world's thread, and is the real one in others, such as the tests'."""
        thread = threading.get_ident()
        return lambda *args: self.refuse(what) if threading.get_ident() == thread else real(*args)

    def _numbering(self) -> Callable[[Any], int]:
        """Return a function that returns the number of an object, which takes the place of its hash."""

        def number(one: Any) -> int:
            try:
                return one.simulated_number  # type: ignore[no-any-return]
            except AttributeError:
                return self._number(one)

        return number

    def _number(self, one: Any) -> int:
        """Return the number of an object that hasn't been asked for it yet, or can't keep it."""
        if hasattr(one, "__dict__"):
            one.simulated_number = number = next(self._counts.setdefault(type(one), count(1)))
            return number
        key = id(one)
        found = self._numbers.get(key)
        if found is None:
            try:
                kept: object = weakref.ref(one, lambda _: self._numbers.pop(key, None))
            except TypeError:  # the object can't be referred to weakly, and its address must not be used again
                kept = one
            found = self._numbers[key] = next(self._counts.setdefault(type(one), count(1))), kept
        return found[0]


@contextmanager
def guarded(world: "World") -> Iterator[None]:
    """Keep the real world out while this world runs in this thread."""
    if not _hooks:
        _hooks.append(_audit)
        sys.addaudithook(_audit)
    _guarding.append((world, threading.get_ident()))
    try:
        with world.substitutes.in_place():
            yield
    finally:
        _guarding.pop()


async def _run_in_virtual_thread(
    cls: Any,
    func: Callable[..., Any],
    args: Iterable[Any],
    abandon_on_cancel: bool = False,
    limiter: anyio.CapacityLimiter | None = None,
) -> Any:
    """Stand for anyio's `run_sync_in_worker_thread`, which starts threads of its own."""
    await cls.checkpoint()
    async with limiter or cls.current_default_thread_limiter():
        with anyio.CancelScope(shield=not abandon_on_cancel):
            call = partial(contextvars.copy_context().run, func, *args)
            return await asyncio.get_running_loop().run_in_executor(None, call)


def _numbered_scope() -> type[anyio_backend.CancelScope]:
    """Return a class of cancel scopes whose hash is their number in this world instead of their address in memory."""
    numbers = count(1)

    class NumberedScope(anyio_backend.CancelScope):
        __slots__ = ("number",)

        def __init__(self, deadline: float = math.inf, shield: bool = False) -> None:
            super().__init__(deadline, shield)
            self.number = next(numbers)

        def __hash__(self) -> int:
            return self.number

    return NumberedScope


def _present(owner: Any, name: str) -> Any:
    """Return what stands there now: of a class method the descriptor, and not the method that it makes."""
    return vars(owner)[name] if isinstance(owner, type) and name in vars(owner) else getattr(owner, name)


def _in_ns(clock: Callable[[], float]) -> int:
    return round(1e9 * clock())
