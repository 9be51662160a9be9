"""Tasks that take one step after the other, where a task for each would cost more than what it does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from anyio.abc import TaskGroup

# Tasks that wait for a step; a crowd's others end. Each costs 2 KB.
IDLE: Final = 64

log = structlog.get_logger()

Step = Callable[..., Awaitable[None]]


class WorkerPool:
    """Runs steps at once, each in a task of the group for as long as it takes.

    A step that raises is logged: a defect that one client brings out must not end the node for all the others.

    New tasks were a seventh of a node's time while thousands log in (docs/performance.md).
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._idle: list[asyncio.Future[tuple[Step, tuple[Any, ...]]]] = []

    def start(self, step: Step, *about: Any) -> None:
        """Have `await step(*about)` carried out, beginning in the next turn of the loop."""
        while self._idle:
            if not (free := self._idle.pop()).done():  # else its task was cancelled
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
            del step, about  # a task that waits must not keep what its last step was about
            step, about = await free
            del free


async def _take(step: Step, about: tuple[Any, ...]) -> None:
    try:
        await step(*about)
    except Exception:
        log.exception("a step failed")
