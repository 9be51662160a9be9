"""What holds after each step of a run, and what holds when all is quiet, as seen from inside the nodes."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from relay.directory.record import Record, decode
from relay.hub.hub import Hub
from relay.metrics import Outcome
from relay.redis_client.keys import Keys
from relay.session.session import Session
from relay.session.unacked_messages import UnackedMessages, size
from simulator.harness import diary
from simulator.harness.leftovers import left_over, tasks
from simulator.harness.machine import NodeProcess
from simulator.harness.plan import LEASE
from simulator.harness.stage import PREFIX, Stage

SIDES: Final = 2  # of a chat
# How long two nodes may both believe to own a name for a client that is there: they follow a new primary within five
# seconds, and then hear of each other within a lease.
RIVALS_SECONDS: Final = 5.0 + 2 * LEASE
_KEYS: Final = Keys(PREFIX)
MOST: Final = 20  # violations that are kept
# What is counted over all nodes of a run. A batch in which one of these never happened has tested little.
LIBRARY: Final = "texts by the client library"
COUNTED: Final = (
    LIBRARY,
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
    *diary.COUNTED,
)


class Invariants:
    """Looks into all nodes. `broken` has what must not be."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._hubs: dict[str, Hub] = {}  # of all nodes that ever were, by the name of the process
        self._standing = Counter[str]()  # the tasks of a node without users
        self._rivals: dict[
            str, float
        ] = {}  # by name: since when two nodes believe to own it for a client that is there
        self.broken: list[str] = []

    def remember_tasks(self) -> None:
        """Note which tasks nodes have without anything to do. Call this before the first user comes."""
        for node, _ in self._living():
            assert node.process is not None
            self._standing |= tasks(node.process)

    def left_over(self) -> list[str]:
        """Return what is left of users on nodes, some time after all of them are gone."""
        return [
            f"node {node.number} has {what} left"
            for node, hub in self._living()
            if node.process is not None
            for what in left_over(node.process, hub, self._standing)
        ]

    def look(self) -> None:
        """Look at what holds at any time."""
        for node, hub in self._living():
            self._look_at(node, hub)
        self._look_at_owners()

    def _look_at_owners(self) -> None:
        """Check that no name has two owners for longer than nodes may follow different primaries."""
        owners = Counter[str]()
        for node, hub in self._living():
            if node.holds_lease:
                owners.update(name for name, one in hub.sessions.items() if one.named and not one.away)
        now = self._stage.world.now
        for name in [name for name in self._rivals if owners[name] < SIDES]:
            del self._rivals[name]
        for name, count in owners.items():
            if count > 1 and now - self._rivals.setdefault(name, now) > RIVALS_SECONDS:
                self._say(f"{name} has {count} owners since {self._rivals.pop(name):.3f} s")

    def _living(self) -> Iterator[tuple[NodeProcess, Hub]]:
        for node in self._stage.nodes:
            if node.serving and node.node is not None and node.process is not None:
                self._hubs[node.process.name] = node.node.hub
                yield node, node.node.hub

    def _look_at(self, node: NodeProcess, hub: Hub) -> None:
        budget = hub.memory_budget
        if budget.room < 0:
            self._say(f"node {node.number} holds {budget.used} bytes, {-budget.room} more than it may")
        for session in hub.sessions.values():
            if session.chat is not None and (wrong := miscounted(session.chat.unacked)):
                self._say(f"the window of {session.canonical_name} on node {node.number} {wrong}")

    def _say(self, what: str) -> None:
        if len(self.broken) < MOST:
            self.broken.append(f"at {self._stage.world.now:.3f} s: {what}")

    def when_quiet(self) -> list[str]:
        """Return what is wrong although nothing has been asked for and nothing is under way."""
        sessions = [(node, hub, one) for node, hub in self._living() for one in hub.sessions.values() if one.named]
        owners = Counter(session.canonical_name for _, _, session in sessions if not session.away)
        wrong = [f"{name} has {count} live owners" for name, count in owners.items() if count > 1]
        chats = Counter(session.chat.id for _, _, session in sessions if session.chat is not None)
        wrong += [f"{count} sessions are in chat {chat}" for chat, count in chats.items() if count != SIDES]
        records = self._records()
        for node, hub, session in sessions:
            where = f"{session.canonical_name} on node {node.number}"
            if session.chat is not None and len(session.chat.unacked):
                wrong.append(f"{where} has messages under way")
            raw = records.get(_KEYS.place(session.canonical_name).field)
            if raw is None:
                wrong.append(f"{where} has no record")
            else:
                wrong += [f"{where} {what}" for what in differs(decode(raw), hub, session)]
        return wrong

    def _records(self) -> dict[str, bytes]:
        """Return all records of names on the servers that serve, by the field that each is in."""
        found: dict[str, bytes] = {}
        for database in self._stage.servers.primaries:
            for value in database.server.databases[0].data.values():
                if isinstance(value, dict):
                    found |= {field.decode(errors="replace"): raw for field, raw in value.items()}
        return found

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
        found |= self._stage.diary.counts
        self._hubs.clear()
        return found


def miscounted(window: UnackedMessages) -> str:
    """Return what is wrong with a window: a message that is in it twice, or sums that don't fit its messages."""
    last = 0
    for run in window.runs:
        if run.id <= last:
            return f"has message {run.id} after {last}"
        last = run.last
    count = sum(len(run.texts) for run in window.runs)
    total = sum(size(text) for run in window.runs for text in run.texts)
    if (count, total) != (window.count, window.bytes):
        return f"has {count} messages of {total} bytes, and counts {window.count} of {window.bytes}"
    return ""


def differs(record: Record, hub: Hub, session: Session) -> Iterator[str]:
    """Yield what a record says otherwise than the session does."""
    if record.node_id != hub.node_id:
        yield f"is on node {record.node_id} by its record, and not on {hub.node_id}"
    if record.session_id != session.session_id:
        yield f"is session {record.session_id} by its record, and not {session.session_id}"
    if record.fencing_token != session.fencing_token:
        yield f"has fence {record.fencing_token} by its record, and not {session.fencing_token}"
    chat = session.chat.id if session.chat is not None else ""
    if record.body.chat != chat:
        yield f"is in chat {record.body.chat!r} by its record, and not in {chat!r}"
