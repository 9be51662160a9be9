"""A node's memory for messages in flight is divided before it runs short."""

from relay.session.memory_budget import PLENTY, MemoryBudget

MEMORY = 1000
FEW_WORDS = MEMORY // 2 // 4


def test_windows_have_their_own_bounds_only_while_there_is_plenty() -> None:
    memory_budget = MemoryBudget(MEMORY)
    assert memory_budget.allowance == PLENTY
    memory_budget.share_out([100, 100, 0])
    assert memory_budget.allowance == PLENTY
    assert not memory_budget.short


def test_beyond_half_of_the_budget_the_rest_is_shared_among_those_who_hold_something() -> None:
    memory_budget = MemoryBudget(MEMORY)
    memory_budget.share_out([150, 101, 0, 0])
    assert memory_budget.allowance == (MEMORY // 2 - FEW_WORDS - 251) // 2 == FEW_WORDS // 2
    assert memory_budget.short


def test_the_last_quarter_is_for_those_who_hold_less_than_their_share_of_it() -> None:
    memory_budget = MemoryBudget(MEMORY)
    for held in (300, 375, 600):
        memory_budget.share_out([held, 1])
        assert memory_budget.allowance == FEW_WORDS // 2


def test_floods_leave_room_for_the_few_words_of_others() -> None:
    memory_budget, held = MemoryBudget(MEMORY), [0] * 10
    for growing in (2, 10):  # first two clients flood, then all of them
        for _ in range(100):
            memory_budget.share_out(held)
            for n in range(growing):
                held[n] = max(held[n], min(memory_budget.allowance, held[n] + 5))
        assert sum(held) <= (MEMORY // 2 if growing == 10 else MEMORY // 2 - FEW_WORDS)
    assert min(held) == FEW_WORDS // 10


def test_there_is_plenty_again_when_windows_have_emptied() -> None:
    memory_budget = MemoryBudget(MEMORY)
    memory_budget.share_out([600])
    memory_budget.share_out([])
    assert memory_budget.allowance == PLENTY
