"""A node's memory for messages under way is shared out before it runs short."""

from relay.budget import PLENTY, Budget

MEMORY = 1000


def test_windows_have_their_own_bounds_only_while_there_is_plenty() -> None:
    budget = Budget(MEMORY)
    assert budget.allowance == PLENTY
    budget.look([100, 100, 0])
    assert budget.allowance == PLENTY
    assert not budget.short


def test_beyond_half_of_it_what_is_left_is_shared_among_those_who_hold_something() -> None:
    budget = Budget(MEMORY)
    budget.look([200, 200, 0, 0])
    assert budget.allowance == (MEMORY // 2 - 400) // 2
    assert budget.short


def test_when_it_is_spent_nobody_gets_more() -> None:
    budget = Budget(MEMORY)
    budget.look([600])
    assert budget.allowance == 0


def test_there_is_plenty_again_when_windows_have_emptied() -> None:
    budget = Budget(MEMORY)
    budget.look([600])
    budget.look([])
    assert budget.allowance == PLENTY
