"""Makes a failing run smaller: fewer kinds of faults, fewer users and nodes, and less time, while it fails alike."""

from collections.abc import Callable, Iterator
from typing import Final

from msgspec.structs import replace

from simulator.harness.plan import Plan
from simulator.harness.run import Outcome, run

LEAST_SECONDS: Final = 2.0
LEAST_USERS: Final = 2
LEAST_NODES: Final = 1


def smaller(plan: Plan, faults: dict[str, int]) -> Iterator[Plan]:
    """Yield plans that are a little smaller, those first that save most."""
    if plan.seconds > LEAST_SECONDS:
        yield replace(plan, seconds=max(LEAST_SECONDS, round(plan.seconds / 2, 1)))
    for kind in sorted(faults):
        yield replace(plan, without=(*plan.without, kind))
    if plan.users > LEAST_USERS:
        yield replace(plan, users=max(LEAST_USERS, plan.users // 2))
        yield replace(plan, users=plan.users - 1)
    if plan.nodes > LEAST_NODES:
        yield replace(plan, nodes=plan.nodes - 1)
    if plan.seconds > LEAST_SECONDS:
        yield replace(plan, seconds=max(LEAST_SECONDS, round(plan.seconds * 0.8, 1)))


def shrink(outcome: Outcome, tell: Callable[[str], None], again: Callable[[Plan], Outcome] = run) -> Outcome:
    """Return the smallest run found that breaks one of the same rules."""
    rules = set(outcome.violations)
    best = outcome
    while True:
        for plan in smaller(best.plan, best.faults):
            tried = again(plan)
            if rules & set(tried.violations):
                tell(f"still fails: {plan.command}")
                best = tried
                break
        else:
            return best
