"""What holds after each step of a run, and what holds when all is quiet, as seen from inside the nodes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from relay.hub.hub import Hub
from relay.metrics import Outcome
from relay.tools.torture.client_driver import User
from simulator.harness.machine import NodeProcess
from simulator.harness.stage import Stage

# The number of steps between two looks at everything. What it looks at changes slowly.
STEPS: Final = 200
MOST: Final = 20  # violations that are kept
# What is counted over all nodes of a run. A batch in which one of these never happened has tested little.
COUNTED: Final = (
    "nodes",
    "claims",
    "resumes",
    "pairs",
    "ended sessions",
    "lapsed leases",
    "messages sent again",
    "frames sent again",
    "gaps between nodes",
    "links begun anew",
    "missing echoes",
)


class Invariants:
    """Looks into all nodes. `broken` has what must not be."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._steps = 0
        self._hubs: dict[str, Hub] = {}  # of all nodes that ever were, by the name of the process
        self.broken: list[str] = []

    def step(self) -> bool:
        """Look, if it is time to. Always returns False, as nothing ends because of it."""
        self._steps += 1
        if self._steps % STEPS == 0:
            for node, hub in self._living():
                self._look(node, hub)
        return False

    def _living(self) -> Iterator[tuple[NodeProcess, Hub]]:
        for node in self._stage.nodes:
            hub: Any = getattr(node.node, "_hub", None)
            if node.alive and hub is not None and node.process is not None:
                self._hubs[node.process.name] = hub
                yield node, hub

    def _look(self, node: NodeProcess, hub: Hub) -> None:
        budget = hub.memory_budget
        if budget.room < 0:
            self._say(f"node {node.number} holds {budget.used} bytes, {-budget.room} more than it may")

    def _say(self, what: str) -> None:
        if len(self.broken) < MOST:
            self.broken.append(f"at {self._stage.world.now:.3f} s: {what}")

    def when_quiet(self, users: Sequence[User]) -> list[str]:
        """Return what is wrong although nothing has been asked for and nothing is under way."""
        owners: Counter[str] = Counter()
        wrong = []
        for node, hub in self._living():
            for name, session in hub.sessions.items():
                if session.named and not session.away:
                    owners[name] += 1
                chat = session.chat
                if chat is not None and len(chat.unacked):
                    wrong.append(f"{name} on node {node.number} has messages under way")
        return wrong + [f"{name} has {count} live owners" for name, count in owners.items() if count > 1]

    def close(self) -> dict[str, int]:
        """Let go of all nodes, and return what happened in them, for the gates against empty runs."""
        found = dict.fromkeys(COUNTED, 0)
        for hub in self._hubs.values():
            counts = hub.counts
            found["nodes"] += 1
            found["claims"] += counts.claims[Outcome.GRANTED]
            found["resumes"] += counts.claims[Outcome.RESUMED]
            found["pairs"] += counts.calls[Outcome.PAIRED]
            found["ended sessions"] += sum(counts.endings.values())
            found["lapsed leases"] += counts.lapses
            found["messages sent again"] += counts.resent
            found["frames sent again"] += counts.frames_resent
            found["gaps between nodes"] += counts.gaps
            found["links begun anew"] += counts.resets
            found["missing echoes"] += counts.missed_echoes
        self._hubs.clear()
        return found
