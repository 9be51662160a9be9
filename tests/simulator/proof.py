"""The proof that simulated runs find nodes without a safeguard, and nodes with a fault that was mended.

`python -m tests.simulator.proof [NAME ...]` plays them one after the other, each in a process of its own, and prints a
line for each: after how many seconds of a core the first seed failed that is clean otherwise, and by which rules.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from time import process_time
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from simulator.harness.plan import Plan
from simulator.harness.run import run
from tests.fixtures.sabotage import SABOTAGE
from tests.fixtures.unfixed import UNFIXED

# What a sabotage may cost until it is found.
CORE_SECONDS: Final = 120.0
DEEDS: Final[dict[str, Callable[[], None]]] = {**SABOTAGE, **UNFIXED}


class Find(Struct):
    """The first run that failed."""

    plan: Plan
    rules: list[str]  # that it broke
    seconds: float  # of a core, with the runs before it


def _plan(only: str, seconds: float, engine: str = "single", users: int = 8) -> Plan:
    return Plan(seconds=seconds, engine=engine, users=users, only=tuple(filter(None, only.split(","))))


# The faults that show each of them soonest.
PLANS: Final = {
    "fence": _plan("pause,partition", 14),
    "fence-in-mail": _plan("pause,partition", 14),
    "fence-in-directory": _plan("pause,partition", 14),
    "window": _plan("pubsub", 8),
    "early-ack": _plan("kill", 14),
    "no-reservation": _plan("slow", 10),
    "no-agreement": _plan("stall", 4),
    "loyal": _plan("switch", 8),
    "believing": _plan("isolate", 8, "cluster"),
    "acknowledged-in-another-chat": _plan("term,kill", 10),
    "newcomers-tried-in-each-turn": _plan("redis-down,partition", 12),
    "leases-looked-at-in-turn": _plan("shard-freeze,kill", 10, "cluster"),
    "resumed-only-if-the-former-node-is-known": _plan("shard-freeze,resets", 10, "cluster"),
    "token-bad-where-redis-forgot": _plan("flush,pubsub,resets", 10),
    "token-bad-where-redis-went-back": _plan("rollback,resets", 10),
    "resumed-where-it-was": _plan("partition,resets", 10),
    "stale-sessions-above-live-ones": _plan("flush,partition,pubsub", 10),
    "servers-taken-for-one": _plan("rollback", 10),
    "partner-looked-for-once": _plan("kill,redis-freeze", 10),
    "connecting-to-a-replaced-primary": _plan("failover", 8, "cluster"),
    "cluster-followed-by-the-bus-alone": _plan("failover", 8, "cluster"),
    "replaced-by-its-own-move": _plan("flush,rollback,pubsub,resets", 10),
    "moved-names-are-vacant": _plan("switch,resets", 8, "sentinel"),
}
# Those that no run is known to find in time. docs/simulation.md says what each of them would need.
OPEN: Final = frozenset(
    {
        "acknowledged-in-another-chat",
        "newcomers-tried-in-each-turn",
        "leases-looked-at-in-turn",
        "resumed-only-if-the-former-node-is-known",
        "token-bad-where-redis-forgot",
        "token-bad-where-redis-went-back",
        "partner-looked-for-once",
        "connecting-to-a-replaced-primary",
        "replaced-by-its-own-move",
        "moved-names-are-vacant",
    }
)


def seek(name: str, first: int = 1, core_seconds: float = CORE_SECONDS) -> Find | None:
    """Play a sabotage from a seed on, in this process, which it changes for good. Return the first run that fails."""
    DEEDS[name]()
    began = process_time()
    for seed in count(first):
        outcome = run(replace(PLANS[name], seed=seed))
        took = process_time() - began
        if not outcome.clean:
            return Find(outcome.plan, sorted(outcome.violations), took)
        if took > core_seconds:
            return None
    raise AssertionError


def clean(plan: Plan) -> bool:
    """Return whether a run keeps all promises. No sabotage may have been played in this process."""
    return run(plan).clean


def find(name: str, core_seconds: float = CORE_SECONDS) -> Find | None:
    """Return the first run that a sabotage breaks, and that is clean without it, if it is found in time."""
    spent, first = 0.0, 1
    while spent < core_seconds:
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as alone:
            found = alone.submit(seek, name, first, core_seconds - spent).result()
            if found is None:
                return None
            spent += found.seconds
            if alone.submit(clean, found.plan).result():
                return Find(found.plan, found.rules, spent)
            first = found.plan.seed + 1
    return None


def lines(names: Iterable[str]) -> Iterator[str]:
    """Play these, and yield a line for each."""
    for name in names:
        found = find(name)
        if found is None:
            yield f"{name}: not found in {CORE_SECONDS:.0f} s of a core ({PLANS[name].command})"
        else:
            yield f"{name}: {found.seconds:.0f} s, {', '.join(found.rules)} ({found.plan.command})"


def main(names: list[str]) -> int:
    """Play those of the command line, or all."""
    if unknown := set(names) - set(PLANS):
        sys.exit(f"no such sabotage: {', '.join(sorted(unknown))}")
    missed = False
    for line in lines(names or PLANS):
        print(line, flush=True)
        missed |= ": not found" in line
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
