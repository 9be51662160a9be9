"""Turns of those who are in the middle of a line while memory is short."""

from dataclasses import dataclass

import pytest

from relay.hub.partial_lines import TURN_SECONDS, PartialLines
from relay.session.memory_budget import MemoryBudget

LINE = 1000
MEMORY = 64 * LINE  # half of it is the bound


@dataclass(eq=False)
class One:
    half: int = LINE // 2

    @property
    def unsaid(self) -> int:
        return LINE - self.half

    def settle(self) -> None:
        """See `PartialLine`."""


@pytest.fixture
def budget() -> MemoryBudget:
    budget = MemoryBudget(MEMORY)
    budget.look([MEMORY // 2 - 2 * LINE])  # room for two lines: four halves
    assert budget.short
    budget.allowance = 100
    return budget


@pytest.fixture
def halves(budget: MemoryBudget) -> PartialLines:
    return PartialLines(budget)


def test_up_to_its_share_anyone_may_go_on(halves: PartialLines) -> None:
    assert halves.admits(One(half=100))
    assert not halves.admits(One(half=101))


def test_turns_go_to_as_many_as_there_is_room_for_in_their_order(halves: PartialLines) -> None:
    crowd = [One() for _ in range(6)]
    assert not any(halves.admits(one) for one in crowd)
    assert halves.look(0.0) == crowd[:4]
    assert [halves.admits(one) for one in crowd] == [True] * 4 + [False] * 2
    assert halves.look(0.1) == []
    crowd[0].half = 0  # its line is whole
    assert halves.look(0.2) == crowd[4:5]


def test_who_does_not_go_on_loses_its_turn_to_the_next_one(halves: PartialLines) -> None:
    crowd = [One() for _ in range(5)]
    for one in crowd:
        halves.admits(one)
    assert halves.look(0.0) == crowd[:4]
    assert halves.look(TURN_SECONDS) == crowd[4:]
    assert not halves.admits(crowd[0])
    assert halves.look(TURN_SECONDS) == [crowd[0]]


def test_one_may_always_go_on(halves: PartialLines, budget: MemoryBudget) -> None:
    """Else acknowledgements that would free memory might wait behind half lines for ever."""
    budget.look([MEMORY])
    budget.allowance = 100
    assert budget.room < 0
    crowd = [One(), One()]
    for one in crowd:
        halves.admits(one)
    assert halves.look(0.0) == crowd[:1]
    assert halves.look(0.1) == []
    assert halves.look(TURN_SECONDS) == crowd[1:]


def test_a_whole_line_ends_a_turn(halves: PartialLines, budget: MemoryBudget) -> None:
    budget.look([MEMORY])
    budget.allowance = 100
    crowd = [One(), One(), One()]
    for one in crowd:
        halves.admits(one)
    assert halves.look(0.0) == crowd[:1]
    assert halves.done(crowd[0])
    assert not halves.done(crowd[1])
    assert halves.look(0.0) == crowd[1:2]


def test_with_memory_again_all_go_on(halves: PartialLines, budget: MemoryBudget) -> None:
    crowd = [One() for _ in range(9)]
    for one in crowd:
        halves.admits(one)
    budget.look([])
    assert halves.look(0.0) == crowd
    assert halves.look(0.0) == []


def test_who_is_gone_has_no_turn(halves: PartialLines) -> None:
    gone, there = One(), One()
    for one in (gone, there):
        halves.admits(one)
    halves.forget(gone)
    assert halves.look(0.0) == [there]
    halves.forget(there)
    assert not halves.admits(there)
