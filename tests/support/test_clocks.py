"""Tests of the clock that stops while the thread doesn't get the CPU."""

import time

import anyio
import pytest

from tests.support.clocks import LATE, LOOK, own_clock

pytestmark = pytest.mark.anyio

LONG = 10 * LATE  # seconds


async def test_the_clock_goes_on_while_something_is_waited_for() -> None:
    began = time.monotonic()
    async with own_clock() as clock:
        while clock() < LONG:  # noqa: ASYNC110  it ends on a machine of any speed
            await anyio.sleep(LOOK)
    assert time.monotonic() - began >= LONG


async def test_the_clock_goes_on_while_this_thread_works() -> None:
    ends = time.thread_time() + LONG
    async with own_clock() as clock:
        while time.thread_time() < ends:
            pass
        while not clock():  # noqa: ASYNC110  until the clock was read once
            await anyio.sleep(LOOK / 10)
        assert clock() >= LONG


async def test_the_clock_stands_still_while_this_thread_has_no_turn() -> None:
    async with own_clock() as clock:
        time.sleep(LONG)  # noqa: ASYNC251  like a thread that doesn't get the CPU
        while not clock():  # noqa: ASYNC110  as above
            await anyio.sleep(LOOK / 10)
        assert clock() < LONG / 2
