"""Jobs in tasks that are used again."""

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from relay.tasks import worker_pool
from relay.tasks.worker_pool import WorkerPool
from tests.relay.desk import until

pytestmark = pytest.mark.anyio


class Steps:
    """Records which task each job began in, and lets the test end jobs."""

    def __init__(self) -> None:
        self.tasks: dict[str, object] = {}
        self.ends: dict[str, anyio.Event] = {}
        self.done: list[str] = []

    async def take(self, name: str) -> None:
        self.tasks[name] = asyncio.current_task()
        self.ends[name] = anyio.Event()
        await self.ends[name].wait()
        self.done.append(name)

    async def end(self, *names: str) -> None:
        for name in names:
            await until(lambda name=name: name in self.ends)  # type: ignore[misc]
            self.ends[name].set()
        await until(lambda: set(names) <= set(self.done))


async def with_crew(test: Callable[[WorkerPool, Steps], Awaitable[Any]]) -> None:
    async with anyio.create_task_group() as tasks:
        await test(WorkerPool(tasks), Steps())
        tasks.cancel_scope.cancel()


async def test_steps_run_beside_each_other() -> None:
    async def test(its: WorkerPool, steps: Steps) -> None:
        its.start(steps.take, "a")
        its.start(steps.take, "b")
        await steps.end("b", "a")
        assert steps.done == ["b", "a"]

    await with_crew(test)


async def test_a_task_that_is_done_takes_the_next_step() -> None:
    async def test(its: WorkerPool, steps: Steps) -> None:
        its.start(steps.take, "a")
        await steps.end("a")
        its.start(steps.take, "b")
        await steps.end("b")
        assert steps.tasks["a"] == steps.tasks["b"]

    await with_crew(test)


async def test_a_crowd_leaves_no_more_tasks_than_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "IDLE", 1)

    async def test(its: WorkerPool, steps: Steps) -> None:
        for name in "abc":
            its.start(steps.take, name)
        await steps.end("a", "b", "c")
        for name in "def":
            its.start(steps.take, name)
        await steps.end("d", "e", "f")
        assert len({steps.tasks[name] for name in "abc"} & {steps.tasks[name] for name in "def"}) == 1

    await with_crew(test)


# private: whether a task is idle shows only in the next step
async def test_a_worker_that_was_cancelled_takes_no_step() -> None:
    steps = Steps()
    async with anyio.create_task_group() as tasks, anyio.create_task_group() as inner:
        its = WorkerPool(inner)
        its.start(steps.take, "a")
        await steps.end("a")
        inner.cancel_scope.cancel()
        await until(lambda: its._idle[0].done())
        its._tasks = tasks
        its.start(steps.take, "b")
        with anyio.CancelScope(shield=True):
            await steps.end("b")
        tasks.cancel_scope.cancel()
    assert steps.done == ["a", "b"]


async def test_a_step_that_fails_is_logged_and_the_group_goes_on() -> None:
    async def fail() -> None:
        raise OSError(24, "Too many open files")

    async def test(its: WorkerPool, steps: Steps) -> None:
        with capture_logs() as lines:
            its.start(fail)
            its.start(steps.take, "a")
            await steps.end("a")
        assert [line["event"] for line in lines] == ["a step failed"]

    await with_crew(test)


# private: likewise
async def test_the_arguments_of_a_step_are_not_kept_while_its_task_waits() -> None:
    class About:
        pass

    async def step(about: About) -> None:
        done.append(type(about).__name__)

    done = list[str]()

    async def test(its: WorkerPool, steps: Steps) -> None:
        about = About()
        there = weakref.ref(about)
        its.start(step, about)
        del about
        await until(lambda: its._idle)
        assert done == ["About"]
        assert there() is None

    await with_crew(test)
