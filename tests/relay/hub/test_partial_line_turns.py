"""Turns of clients that are in the middle of a line while memory is short."""

from dataclasses import dataclass

import pytest

from relay.hub.partial_line_turns import TURN_SECONDS, PartialLineTurns
from relay.session.memory_budget import MemoryBudget

LINE = 1000
MEMORY = 64 * LINE  # half of it is the limit


@dataclass(eq=False)
class One:
    half: int = LINE // 2

    @property
    def unsaid(self) -> int:
        return LINE - self.half

    def end_tick(self) -> None:
        """Do nothing: these lines come from no connection."""


@pytest.fixture
def memory_budget() -> MemoryBudget:
    memory_budget = MemoryBudget(MEMORY)
    memory_budget.share_out([MEMORY // 2 - 2 * LINE])  # room for two lines: four halves
    assert memory_budget.short
    memory_budget.allowance = 100
    return memory_budget


@pytest.fixture
def partial_line_turns(memory_budget: MemoryBudget) -> PartialLineTurns:
    return PartialLineTurns(memory_budget)


def test_up_to_its_share_anyone_may_go_on(partial_line_turns: PartialLineTurns) -> None:
    assert partial_line_turns.admits(One(half=100))
    assert not partial_line_turns.admits(One(half=101))


def test_turns_go_to_as_many_as_there_is_room_for_in_their_order(partial_line_turns: PartialLineTurns) -> None:
    crowd = [One() for _ in range(6)]
    assert not any(partial_line_turns.admits(one) for one in crowd)
    assert partial_line_turns.give_turns(0.0) == crowd[:4]
    assert [partial_line_turns.admits(one) for one in crowd] == [True] * 4 + [False] * 2
    assert partial_line_turns.give_turns(0.1) == []
    crowd[0].half = 0  # its line is complete
    assert partial_line_turns.give_turns(0.2) == crowd[4:5]


def test_a_client_that_does_not_go_on_loses_its_turn_to_the_next_one(partial_line_turns: PartialLineTurns) -> None:
    crowd = [One() for _ in range(5)]
    for one in crowd:
        partial_line_turns.admits(one)
    assert partial_line_turns.give_turns(0.0) == crowd[:4]
    assert partial_line_turns.give_turns(TURN_SECONDS) == crowd[4:]
    assert not partial_line_turns.admits(crowd[0])
    assert partial_line_turns.give_turns(TURN_SECONDS) == [crowd[0]]


def test_a_single_client_may_always_go_on(partial_line_turns: PartialLineTurns, memory_budget: MemoryBudget) -> None:
    """Otherwise acknowledgements that would free memory could wait behind half lines for ever."""
    memory_budget.share_out([MEMORY])
    memory_budget.allowance = 100
    assert memory_budget.room < 0
    crowd = [One(), One()]
    for one in crowd:
        partial_line_turns.admits(one)
    assert partial_line_turns.give_turns(0.0) == crowd[:1]
    assert partial_line_turns.give_turns(0.1) == []
    assert partial_line_turns.give_turns(TURN_SECONDS) == crowd[1:]


def test_a_whole_line_ends_a_turn(partial_line_turns: PartialLineTurns, memory_budget: MemoryBudget) -> None:
    memory_budget.share_out([MEMORY])
    memory_budget.allowance = 100
    crowd = [One(), One(), One()]
    for one in crowd:
        partial_line_turns.admits(one)
    assert partial_line_turns.give_turns(0.0) == crowd[:1]
    assert partial_line_turns.done(crowd[0])
    assert not partial_line_turns.done(crowd[1])
    assert partial_line_turns.give_turns(0.0) == crowd[1:2]


def test_with_memory_again_all_go_on(partial_line_turns: PartialLineTurns, memory_budget: MemoryBudget) -> None:
    crowd = [One() for _ in range(9)]
    for one in crowd:
        partial_line_turns.admits(one)
    memory_budget.share_out([])
    assert partial_line_turns.give_turns(0.0) == crowd
    assert partial_line_turns.give_turns(0.0) == []


def test_a_client_that_is_gone_has_no_turn(partial_line_turns: PartialLineTurns) -> None:
    gone, there = One(), One()
    for one in (gone, there):
        partial_line_turns.admits(one)
    partial_line_turns.forget(gone)
    assert partial_line_turns.give_turns(0.0) == [there]
    partial_line_turns.forget(there)
    assert not partial_line_turns.admits(there)
