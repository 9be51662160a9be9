"""What a node looks after from time to time, all its clients together: its memory, and peers that are gone."""

from typing import Final

import anyio

from relay.metrics import Limit
from relay.router import Router

# How often the budget is shared out: a flood brings some ten megabytes meanwhile, at the speed of a machine.
BUDGET_SECONDS: Final = 0.1


async def mind_memory(router: Router) -> None:
    """For ever: look at what is held, and share the budget out."""
    budget = router.budget
    while True:
        await anyio.sleep(BUDGET_SECONDS)
        router.watch_the_entrance(BUDGET_SECONDS)
        allowance, short = budget.allowance, budget.short
        held = {outlet: outlet.held_bytes for outlet in router.holders}
        router.holding = {outlet for outlet, amount in held.items() if amount}
        budget.look(held.values())
        if budget.short and not short:
            router.counts.hit(Limit.MEMORY)
        if budget.allowance > allowance:  # who had to stop may go on
            router.wake_all()


async def mind_peers(router: Router, seconds: float) -> None:
    """For ever, every so often: look for clients whose machine is gone."""
    while True:
        await anyio.sleep(seconds)
        for outlet in router.outlets:
            outlet.check_peer()
