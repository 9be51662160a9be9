"""How long something takes, whatever else the machine has to do."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

LOOK = 0.01  # seconds
LATE = 2 * LOOK  # seconds; a look that is later than this either had to wait for this thread's own work, or had no turn


@asynccontextmanager
async def own_clock() -> AsyncIterator[Callable[[], float]]:
    """The seconds from here on in which this thread waited or worked: while a busy machine gives it no turn, none pass.

    On a quiet machine they are those of any clock. What is measured has to happen in this thread, servers included.
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
