"""Tasks that take one step after the other, where a task for each would cost more than what it does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from anyio.abc import TaskGroup

# Tasks that wait for a step; a crowd's others end. Each costs 2 KB.
IDLE: Final = 64

Step = Callable[..., Awaitable[None]]


class Crew:
    """Runs steps at once, each in a task of the group for as long as it takes. A step must not raise.

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
            await step(*about)
            if len(self._idle) >= IDLE:
                return
            free: asyncio.Future[tuple[Step, tuple[Any, ...]]] = asyncio.get_running_loop().create_future()
            self._idle.append(free)
            step, about = await free
