"""Tasks that fail without affecting others."""

import anyio
import pytest
from structlog.testing import capture_logs

from relay.tasks import restart
from relay.tasks.restart import RestartedTasks

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart, "AGAIN_SECONDS", 0.0)


async def grouped(error: Exception) -> None:
    """Fail as a task does that has its own task group."""

    async def fail() -> None:
        raise error

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fail)


@pytest.mark.parametrize("in_a_group", [False, True])
async def test_a_task_that_fails_begins_anew_and_the_others_go_on(in_a_group: bool) -> None:
    tries, others = list[str](), list[str]()

    async def failing(word: str) -> None:
        tries.append(word)
        if len(tries) < 3:
            error = OSError(24, "Too many open files")
            if in_a_group:
                await grouped(error)
            raise error

    async def other() -> None:
        for _ in range(9):
            await anyio.lowlevel.checkpoint()
        others.append("done")

    with capture_logs() as lines:
        async with anyio.create_task_group() as tasks:
            RestartedTasks(tasks).start("failing", failing, "again")
            RestartedTasks(tasks).start("other", other)
    assert (tries, others) == (["again"] * 3, ["done"])
    assert [line["task"] for line in lines] == ["failing"] * 2


async def test_the_end_of_the_group_is_the_end_of_its_tasks() -> None:
    async with anyio.create_task_group() as tasks:
        RestartedTasks(tasks).start("sleeper", anyio.sleep_forever)
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
