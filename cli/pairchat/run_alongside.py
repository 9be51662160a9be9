"""This module has the one pattern of concurrency that the programs here need."""

from collections.abc import Awaitable, Callable

import anyio

Job = Callable[[], Awaitable[None]]


async def run_alongside(main: Job, helper: Job) -> None:
    """Run `helper` beside `main` until `main` is done. An error of either ends both, and is raised unwrapped."""
    errors: list[Exception] = []

    async with anyio.create_task_group() as tasks:

        async def guarded(job: Job) -> None:
            try:
                await job()
            except Exception as error:
                errors.append(error)
                tasks.cancel_scope.cancel()

        tasks.start_soon(guarded, helper)
        await guarded(main)
        tasks.cancel_scope.cancel()
    if errors:
        raise errors[0]
