"""Many runs, one after the other or several at once, and whether they were worth anything."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread
from time import process_time
from typing import Final

from msgspec import Struct, field

from relay.tools.torture.checker import LOST_SHARE
from simulator.harness.faults import kinds_of
from simulator.harness.invariants import COUNTED
from simulator.harness.plan import Plan
from simulator.harness.run import Outcome, run

# With so many runs or more, each fault of the engine and all that is counted must have happened at least once.
GATED: Final = 40


def pace(seconds: float, cpu: float) -> str:
    """Return how fast virtual time went by, in words, for the seconds of a core that it took."""
    return f"{seconds:.0f} virtual s in {cpu:.1f} s of a core ({seconds / cpu if cpu else 0.0:.1f} a second)"


class Batch(Struct):
    """What came of all runs so far."""

    engine: str
    runs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    delivered: int = 0
    lost: int = 0
    events: int = 0
    seconds: float = 0.0  # virtual
    cpu: float = 0.0  # seconds of one core
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome, cpu: float) -> None:
        """Count a run."""
        self.runs += 1
        self.faults.update(outcome.faults)
        self.counts.update(outcome.counts)
        self.delivered += outcome.delivered
        self.lost += outcome.lost
        self.events += outcome.events
        self.seconds += outcome.seconds
        self.cpu += cpu
        if not outcome.clean:
            self.failed.append(outcome)

    @property
    def missing(self) -> list[str]:
        """What never happened, although there were enough runs for it, or happened to too many messages."""
        if self.runs < GATED:
            return []
        refusing = self.lost > LOST_SHARE * (self.delivered + self.lost)
        return [
            *([f"{self.lost} messages lost with sessions, and {self.delivered} delivered"] if refusing else []),
            *(f"no fault {kind}" for kind in kinds_of(self.engine) if not self.faults[kind]),
            *(f"no {what}" for what in COUNTED if not self.counts[what]),
        ]

    @property
    def clean(self) -> bool:
        """Whether no run failed, and none of what must happen never did."""
        return not self.failed and not self.missing

    def lines(self) -> Iterator[str]:
        """Yield the outcome for people."""
        yield f"{self.runs} seeds, {pace(self.seconds, self.cpu)}, {self.events} events, {self.delivered} messages"
        yield "faults: " + (", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items())) or "none")
        yield "seen: " + ", ".join(f"{self.counts[what]} {what}" for what in COUNTED)
        yield from (f"empty: {what} in {self.runs} seeds" for what in self.missing)
        yield f"{len(self.failed)} failed" if self.failed else "all clean"


def explain(outcome: Outcome, most: int = 5) -> Iterator[str]:
    """Yield what a run broke, and the command that runs it again."""
    for rule, lines in outcome.violations.items():
        yield f"{rule.upper()}: {len(lines)}"
        yield from (f"    {line}" for line in lines[:most])
    yield f"again: {outcome.plan.command}"


def timed(plan: Plan) -> tuple[Outcome, float]:
    """Run a plan. Return its outcome and the seconds of a core that it took."""
    began = process_time()
    outcome = run(plan)
    return outcome, process_time() - began


def _end_with_parent() -> None:
    """Have this process of a pool end once the one that started it does, also if that was killed in the middle."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def carry_out(engine: str, plans: Iterable[Plan], jobs: int, tell: Callable[[str], None]) -> Batch:
    """Run all plans, `jobs` at once, and call `tell` with the progress and each failure."""
    batch = Batch(engine)

    def take(outcome: Outcome, cpu: float) -> None:
        batch.add(outcome, cpu)
        if not outcome.clean:
            tell(f"seed {outcome.plan.seed} fails:")
            for line in explain(outcome):
                tell(line)
        elif batch.runs % 10 == 0:
            tell(f"{batch.runs} seeds, {len(batch.failed)} failed, {batch.seconds:.0f} virtual seconds")

    if jobs == 1:
        for plan in plans:
            take(*timed(plan))
    else:
        with ProcessPoolExecutor(jobs, get_context("spawn"), _end_with_parent) as pool:
            for outcome, cpu in pool.map(timed, plans):
                take(outcome, cpu)
    return batch
