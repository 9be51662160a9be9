"""This module measures durations independently of the load on the machine."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

LOOK = 0.01  # seconds between two readings of the clocks
LATE = 2 * LOOK  # seconds; a later reading was delayed by this thread's own work, or because it didn't get the CPU


@asynccontextmanager
async def own_clock() -> AsyncIterator[Callable[[], float]]:
    """Yield a clock of the seconds in which this thread waited or worked, not those in which it didn't get the CPU.

    On a quiet machine it agrees with any other clock. Everything measured must run in this thread, including servers.
    """
    passed, looked, worked = 0.0, time.monotonic(), time.thread_time()

    async def look() -> None:
        nonlocal passed, looked, worked
        while True:
            await anyio.sleep(LOOK)
            now, work = time.monotonic(), time.thread_time()
            passed += min(now - looked, work - worked + LATE)
            looked, worked = now, work

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        yield lambda: passed
        tasks.cancel_scope.cancel()
