"""The loop that a test steps through: what runs when, and what it leaves to the loop around it."""

import asyncio
import time

import anyio
import pytest

from relay.clock import clocks
from relay.entropy import entropy
from tests.support.stepped_loop import SteppedLoop, Tasks

NOON = 1_795_404_840.0


@pytest.fixture
def loop() -> SteppedLoop:
    return SteppedLoop.at(NOON)


def test_nothing_runs_before_the_test_says_so_and_then_all_in_order(loop: SteppedLoop) -> None:
    steps: list[str] = []
    tasks = Tasks.of(loop)

    async def task(name: str) -> None:
        steps.append(f"{name} begins")
        await asyncio.sleep(0)
        steps.append(f"{name} ends")

    tasks.start_soon(task, "one")
    loop.call_soon(steps.append, "call")
    loop.call_soon(steps.append, "nothing").cancel()
    tasks.start_soon(task, "two")
    assert steps == []
    loop.run_ready()
    assert steps == ["call", "one begins", "two begins", "one ends", "two ends"]


def test_timers_are_due_in_order_each_at_its_time(loop: SteppedLoop) -> None:
    rung: list[tuple[str, float]] = []

    def ring(name: str) -> None:
        rung.append((name, loop.time() - NOON))

    async def sleep() -> None:
        await anyio.sleep(2)
        ring("slept")

    loop.call_later(3, ring, "last")
    loop.call_later(1, loop.call_later, 1, ring, "second")
    loop.call_later(1, ring, "first")
    loop.call_later(1, ring, "never").cancel()
    Tasks.of(loop).start_soon(sleep)
    loop.pass_time(2.5)
    assert rung == [("first", 1.0), ("slept", 2.0), ("second", 2.0)]
    assert loop.time() == NOON + 2.5
    loop.pass_time(0.5)
    assert rung[3:] == [("last", 3.0)]


def test_an_exception_of_a_task_or_a_callback_reaches_the_test(loop: SteppedLoop) -> None:
    async def fail() -> None:
        raise ValueError("task")

    Tasks.of(loop).start_soon(fail)
    with pytest.raises(ValueError, match="task"):
        loop.run_ready()
    loop.call_later(1, int, "callback")
    with pytest.raises(ValueError, match="callback"):
        loop.pass_time(1)


def read() -> tuple[float, ...]:
    return clocks.lease(), clocks.monotonic(), clocks.wall()


def test_while_it_runs_all_clocks_show_its_time_and_tokens_are_the_same_in_every_run(loop: SteppedLoop) -> None:
    seen: list[tuple[float, ...]] = []
    tokens: set[str] = set()
    before = clocks.lease, clocks.monotonic, clocks.wall, entropy.source
    loop.call_soon(lambda: seen.append(read()))
    loop.run_ready()
    loop.wall_step = -60.0
    loop.call_later(1, lambda: seen.append(read()))
    loop.pass_time(1)
    assert seen == [(NOON,) * 3, (NOON + 1, NOON + 1, NOON - 59)]
    for one in (SteppedLoop.at(NOON), SteppedLoop.at(0)):
        one.call_soon(lambda: tokens.add(entropy.token_hex(8)))
        one.run_ready()
    assert len(tokens) == 1
    assert (clocks.lease, clocks.monotonic, clocks.wall, entropy.source) == before
    assert clocks.wall is time.time


@pytest.mark.anyio
async def test_the_loop_runs_inside_a_coroutine_of_another_loop_which_goes_on_after_that(loop: SteppedLoop) -> None:
    outer, task, seen = asyncio.get_running_loop(), asyncio.current_task(), list[object]()

    async def look() -> None:
        seen.append(asyncio.get_running_loop())

    Tasks.of(loop).start_soon(look)
    loop.run_ready()
    assert seen == [loop]
    assert (asyncio.get_running_loop(), asyncio.current_task()) == (outer, task)
    await asyncio.sleep(0)
