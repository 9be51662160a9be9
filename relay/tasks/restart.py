"""The tasks that a node runs for as long as it lives. None of them may take the node, and everybody on it, with it."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup

# Pause before a task that failed begins anew: what failed may well fail again.
AGAIN_SECONDS: Final = 1.0

log = structlog.get_logger()


class Upkeep:
    """Starts tasks in a group that they can't end: one that raises is logged, and begins anew after a pause.

    That goes for the exception group of a task's own group too. A task that returns is done.
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks

    def start(self, name: str, task: Callable[..., Awaitable[None]], *about: Any) -> None:
        """Run `task(*about)`, which must bear to be run again after it raised. `name`: for the log."""
        self._tasks.start_soon(self._run, name, task, about)

    async def _run(self, name: str, task: Callable[..., Awaitable[None]], about: tuple[Any, ...]) -> None:
        while True:
            try:
                return await task(*about)
            except Exception:
                log.exception("a task failed, it begins anew", task=name)
            await anyio.sleep(AGAIN_SECONDS)
