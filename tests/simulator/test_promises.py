"""Tests that programs can't tell the virtual loop from asyncio's own, where that is deterministic."""

from functools import partial

import pytest

from tests.simulator import connections, programs, small
from tests.simulator.both import BAD_WEATHER, assert_same
from tests.support.examples import share, some
from tests.support.rows import each_row


@each_row("seed", range(share(200)))
def test_tasks_that_wait_for_each_other(seed: int) -> None:
    assert_same(partial(programs.program, seed=seed))


@pytest.mark.parametrize("swapped", [False, True], ids=["client", "server"])
@each_row("plan", some(connections.plans()))
def test_both_ends_of_a_connection_are_told_the_same(plan: connections.Plan, swapped: bool) -> None:
    assert_same(partial(connections.program, plan=plan, swapped=swapped), weathers=(None, BAD_WEATHER))


@pytest.mark.parametrize("name", small.PROGRAMS)
def test_small_programs(name: str) -> None:
    assert_same(small.PROGRAMS[name], 1, 2, weathers=(None, BAD_WEATHER))
