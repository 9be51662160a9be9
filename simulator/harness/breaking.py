"""What all faults have in common: the world, the log of faults, and looks at what works meanwhile."""

from collections.abc import Sequence
from random import Random
from typing import Final, Protocol

from relay.tools.testbed.topology_setup import EVERYWHERE
from relay.tools.testbed.waiting import until
from relay.tools.torture.history import Fault, Span
from relay.tools.torture.run_settings import ALIVE_SECONDS
from simulator.harness.databases import Database
from simulator.harness.stage import Stage

# How long a failed primary is waited for until another one has its place.
REPLACED_SECONDS: Final = 20.0


class Alive(Protocol):
    """Tells what works for new users."""

    async def __call__(
        self, seconds: float, nodes: Sequence[int] | None = None, slots: Sequence[range] = EVERYWHERE
    ) -> list[str]:
        """Return what two new users on some nodes can't do in time, with names in these slots of a cluster."""


class Breaking:
    """Breaks the world.

    `log` has the faults that were, `failures` what isn't as a fault expects, and `dead` what didn't work meanwhile.
    """

    def __init__(self, stage: Stage, log: list[Fault], alive: Alive) -> None:
        self.stage = stage
        self.world = stage.world
        self.log = log
        self.failures: list[str] = []
        self.dead: list[str] = []
        self.under_way = 0  # faults
        self._alive = alive

    def begin(self, kind: str, node: int = -1) -> Fault:
        """Log the begin of a fault."""
        fault = Fault(kind, Span(self.world.now), node)
        self.log.append(fault)
        self.world.note("faults", f"{kind} {node} begins")
        return fault

    def end(self, fault: Fault) -> None:
        """Log the end of a fault."""
        fault.span.ended = self.world.now
        self.world.note("faults", f"{fault.kind} {fault.node} is over")

    def one(self, rng: Random) -> Database | None:
        """Return one of the servers that serve, or None if there are none."""
        able = [database for database in self.stage.servers.primaries if database.alive]
        return rng.choice(able) if able else None

    async def replaced(self, database: Database) -> None:
        """Wait until another server has the place of a primary that failed."""
        if not await until(lambda: database not in self.stage.servers.primaries, REPLACED_SECONDS):
            self.failures.append(f"{database.name} isn't replaced by {self.world.now:.3f} s: the model is wrong")

    async def look(
        self,
        when: str,
        seconds: float = ALIVE_SECONDS,
        nodes: Sequence[int] | None = None,
        slots: Sequence[range] = EVERYWHERE,
    ) -> None:
        """Check that everything works in spite of this fault, unless something else goes wrong. See `Alive`."""
        before = len(self.log)
        if self.under_way == 1:
            found = await self._alive(seconds, nodes, slots)
            if len(self.log) == before:
                self.dead += [f"{when}: {what}" for what in found]
