"""A pool of tasks that run short steps one after another, as a new task would cost more than its step."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from anyio.abc import TaskGroup

# The maximum number of idle tasks; others end after their step. Each costs 2 KB.
IDLE: Final = 64

log = structlog.get_logger()

Step = Callable[..., Awaitable[None]]


class WorkerPool:
    """Runs each step without delay, in an idle task of the group or a new one.

    A step that raises is logged: a defect that one client triggers must not end the node for all others.

    New tasks took a seventh of a node's time while thousands log in (docs/performance.md).
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._idle: list[asyncio.Future[tuple[Step, tuple[Any, ...]]]] = []

    def start(self, step: Step, *about: Any) -> None:
        """Schedule `await step(*about)` for the next iteration of the event loop."""
        while self._idle:
            if not (free := self._idle.pop()).done():  # a done future belongs to a cancelled task
                free.set_result((step, about))
                return
        self._tasks.start_soon(self._work, step, about)

    async def _work(self, step: Step, about: tuple[Any, ...]) -> None:
        while True:
            await _take(step, about)
            if len(self._idle) >= IDLE:
                return
            free: asyncio.Future[tuple[Step, tuple[Any, ...]]] = asyncio.get_running_loop().create_future()
            self._idle.append(free)
            del step, about  # an idle task must not keep the objects of its last step alive
            step, about = await free
            del free


async def _take(step: Step, about: tuple[Any, ...]) -> None:
    try:
        await step(*about)
    except Exception:
        log.exception("a step failed")
