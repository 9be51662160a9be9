"""An event loop that runs only when a test says so, and whose time stands still unless the test lets it pass.

It has no I/O. Tests that aren't coroutines run real hubs on it, whose tasks and timers then go on in one fixed order.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, TypeVar, TypeVarTuple, cast

from anyio.abc import TaskGroup

from relay.clock import clocks
from relay.entropy import entropy

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Call = tuple[asyncio.Handle, Callable[..., object], tuple[Any, ...], Context]


class SteppedLoop(asyncio.AbstractEventLoop):
    """The loop. While it runs, all clocks of the process show its time, and what is drawn is the same in every run."""

    @classmethod
    def at(cls, time: float) -> "SteppedLoop":
        """Return a loop that begins at this Unix time. It lacks what needs I/O, which type checkers overlook here."""
        return cls(time)

    def __init__(self, time: float) -> None:
        self._time = time
        self.wall_step = 0.0  # how far the wall clock was set since the loop was made
        self._ready = deque[Call]()
        self._timers: list[tuple[float, int, Call]] = []  # a heap
        self._order = count()  # of timers that are due at the same time
        self._failures: list[BaseException] = []
        self._random = Random(0)

    # --- what a test calls

    # private: asyncio has no other way for a loop to say that it runs, and calls this one its interface for loops
    @contextmanager
    def running(self) -> Iterator[None]:
        """Be the running loop, as in a callback, also inside a coroutine of another loop."""
        outer = asyncio._get_running_loop()
        if outer is self:
            yield
            return
        task = None if outer is None else asyncio.current_task(outer)
        before = clocks.lease, clocks.monotonic, clocks.wall, entropy.source
        entropy.source = self._random
        clocks.lease = clocks.monotonic = self.time
        clocks.wall = self.wall
        if outer is not None and task is not None:
            asyncio.tasks._leave_task(outer, task)
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(outer)
            if outer is not None and task is not None:
                asyncio.tasks._enter_task(outer, task)
            clocks.lease, clocks.monotonic, clocks.wall, entropy.source = before

    def run_ready(self) -> None:
        """Run everything that needs no time to pass. Raises what a callback or a task has raised."""
        with self.running():
            ready = self._ready
            while ready:
                handle, callback, args, context = ready.popleft()
                if not handle.cancelled():
                    context.run(callback, *args)
        if self._failures:
            raise self._failures.pop()

    def pass_time(self, seconds: float) -> None:
        """Let time pass: run what is due, in order, each at its time."""
        end = self._time + seconds
        self.run_ready()
        while self._timers and self._timers[0][0] <= end:
            when, _, call = heappop(self._timers)
            self._time = max(self._time, when)
            self._ready.append(call)
            self.run_ready()
        self._time = end

    # --- what asyncio calls

    def time(self) -> float:
        return self._time

    def wall(self) -> float:
        """Return the Unix time in seconds."""
        return self._time + self.wall_step

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        context = context or copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append((handle, callback, args, context))
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._time + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        context = context or copy_context()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heappush(self._timers, (when, next(self._order), (handle, callback, args, context)))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: cancelled timers are left out when they are due."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, T] | Generator[Any, None, T], **options: Any) -> asyncio.Task[T]:
        return asyncio.Task(cast(Coroutine[Any, Any, T], coro), loop=self, **options)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep an exception for `run_ready`. A task that is never finished, as the test is over, is no failure."""
        if (failure := context.get("exception")) is not None:
            self._failures.append(failure)


class Tasks:
    """The tasks of a stepped loop: as much of a task group as a hub needs. Nobody waits for their end."""

    def __init__(self, loop: SteppedLoop) -> None:
        self._loop = loop
        self._running = set[asyncio.Task[None]]()

    @classmethod
    def of(cls, loop: SteppedLoop) -> TaskGroup:
        return cast(TaskGroup, cls(loop))

    def start_soon(self, step: Callable[..., Coroutine[Any, Any, None]], *about: Any, name: object = None) -> None:
        """Run a coroutine function in a task. Until the loop runs there is nothing that would have to be ended."""
        self._loop.call_soon(self._start, step, about)

    def _start(self, step: Callable[..., Coroutine[Any, Any, None]], about: tuple[Any, ...]) -> None:
        task = self._loop.create_task(step(*about))
        self._running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._loop.call_exception_handler({"exception": failure})
