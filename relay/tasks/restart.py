"""The long-running tasks of a node. A failure of one of them must not end the node and all its sessions."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup

# The pause before a failed task is restarted, as it may well fail again.
AGAIN_SECONDS: Final = 1.0

log = structlog.get_logger()


class RestartedTasks:
    """Starts tasks in a group that they can't end: a task that raises is logged, and restarted after a pause.

    The same holds if it raises the exception group of a group of its own. A task that returns is done.
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks

    def start(self, name: str, task: Callable[..., Awaitable[None]], *about: Any) -> None:
        """Run `task(*about)`, which must allow another run after it raised. `name` is for the log."""
        self._tasks.start_soon(self._run, name, task, about)

    async def _run(self, name: str, task: Callable[..., Awaitable[None]], about: tuple[Any, ...]) -> None:
        while True:
            try:
                return await task(*about)
            except Exception:
                log.exception("a task failed, it begins anew", task=name)
            await anyio.sleep(AGAIN_SECONDS)
