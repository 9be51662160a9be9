"""What goes wrong in a run.

Each kind of fault has a random stream of its own, which says whether the seed has it at all, how often, and how it
goes: a kind more or less changes nothing of the others.
"""

from collections.abc import Mapping
from random import Random
from typing import Final

import anyio

from relay.tools.torture.history import Fault
from simulator.harness.breaking import Alive, Breaking
from simulator.harness.node_faults import NODE
from simulator.harness.plan import Plan
from simulator.harness.server_faults import SERVER
from simulator.harness.stage import Stage

# How probable it is that a seed has a kind of fault, and the seconds from one such fault to the next, on average.
HAS: Final = 0.5
EVERY_SECONDS: Final = (1.5, 15.0)
# The most faults that are under way at once.
TOGETHER: Final = (1, 1, 2, 2, 3)

KINDS: Final = (*NODE, *SERVER)
# Faults that only some engines can have. Those that replace a server need a replica that is ready.
_SINGLE: Final = frozenset({"flush", "evict", "redis-down", "redis-freeze", "rollback", "names"})
_REPLICATED: Final = frozenset({"failover", "each-primary"})
_CLUSTER: Final = frozenset({"isolate", "shard-freeze", "slots"})
# Faults of servers that may happen beside others of theirs. All others are under way one at a time.
_LIGHT: Final = frozenset({"pubsub", "answers", "buffer"})
_REPLACING: Final = _REPLICATED | _CLUSTER | {"switch"}


def kinds_of(engine: str) -> tuple[str, ...]:
    """Return the faults that an engine can have."""
    never = {"single": _REPLICATED | _CLUSTER, "sentinel": _SINGLE | _CLUSTER, "cluster": _SINGLE}[engine]
    return tuple(kind for kind in KINDS if kind not in never)


def rates(streams: Mapping[str, Random], plan: Plan) -> dict[str, float]:
    """Draw which kinds of faults a seed has, each from its stream, and the seconds from one to the next."""
    found: dict[str, float] = {}
    for kind, rng in streams.items():
        drawn, every = rng.random() < HAS, rng.uniform(*EVERY_SECONDS)
        has = kind in plan.only if plan.only else drawn
        if has and kind not in plan.without:
            found[kind] = every
    return found


class Faults:
    """Injects the faults of a seed."""

    def __init__(self, stage: Stage, log: list[Fault], alive: Alive) -> None:
        """`log` gets the faults."""
        self.breaking = Breaking(stage, log, alive)
        self._stage = stage
        self._world = stage.world
        self._streams = {kind: self._world.stream(f"fault {kind}") for kind in kinds_of(stage.plan.engine)}
        self._every = rates(self._streams, stage.plan)
        self._turns = anyio.Semaphore(self._world.stream("faults together").choice(TOGETHER))
        self._server_broken = False

    async def rage(self, seconds: float) -> None:
        """Inject faults for so long. All of them are healed when this returns."""
        end = self._world.now + seconds
        async with anyio.create_task_group() as tasks:
            for kind in self._every:
                tasks.start_soon(self._rage, kind, end)

    async def _rage(self, kind: str, end: float) -> None:
        rng = self._streams[kind]
        while True:
            pause = rng.expovariate(1 / self._every[kind])
            if self._world.now + pause >= end:
                return
            await anyio.sleep(pause)
            async with self._turns:
                if self._world.now < end:
                    await self._do(kind, rng)

    async def _do(self, kind: str, rng: Random) -> None:
        nodes, breaking = self._stage.nodes, self.breaking
        node = nodes[rng.randrange(len(nodes))]
        if kind in NODE:
            if not node.wanted:
                return
        elif kind not in _LIGHT and (self._server_broken or (kind in _REPLACING and not self._stage.servers.ready)):
            return
        fault = breaking.begin(kind, node.number if kind in NODE else -1)
        breaking.under_way += 1
        if kind in NODE:
            await NODE[kind](breaking, node, rng)
        elif kind in _LIGHT:
            await SERVER[kind](breaking, rng)
        else:
            self._server_broken = True
            await SERVER[kind](breaking, rng)
            self._server_broken = False
        breaking.under_way -= 1
        breaking.end(fault)
