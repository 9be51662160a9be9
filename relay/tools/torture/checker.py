"""Checks the promises against what every client saw. No I/O.

Each rule is a function that reads the history and yields one line for each violation. The exceptions of a rule are
explained beside it. They are those that the protocol itself makes, and no wider.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct, field

from relay.protocol.errors import Reason
from relay.tools.torture.history import OPEN, End, Fault, Heard, History, Kind, Parted, Said, Session

# Faults after which Redis has lost data.
FORGETTING: Final = frozenset({"flush", "evict", "redis-down", "rollback", "failover", "switch", "isolate", "slots"})
# Faults that end a node, or look like its end from outside.
NODE_LOSS: Final = frozenset({"kill", "pause", "term", "partition"})
# Faults that separate a live node from Redis or from its clients.
IMPAIRING: Final = frozenset(
    {"pause", "partition", "redis-freeze", "redis-down", "failover", "switch", "isolate", "shard-freeze"}
)
# Faults that end connections of clients, and with them the sessions of people.
CUTTING: Final = frozenset({"kill", "term", "resets"})
# Faults that keep a node from answering any client.
SILENCING: Final = frozenset({"kill", "term", "pause"})

# The effects of a fault outlast it: a node that wakes up re-checks which names it owns, and clients reconnect.
AFTERMATH_SECONDS: Final = 3.0
# The time within which a client that reads again notices that its connection is gone.
NOTICE_SECONDS: Final = 0.2
# The share of messages that may be lost with a session, and the number of messages that has to arrive. A relay that
# refuses everything must not pass.
LOST_SHARE: Final = 0.10
LEAST_DELIVERED: Final = 100
# A claim or a call is answered within a second, or later on a busy machine. A claim also waits for one lease if its
# partition of the directory has lost its data.
ANSWER_SECONDS: Final = 3.0


class Verdict(Struct):
    """The result of the check. `violations` has only the rules that were violated."""

    violations: dict[str, list[str]] = field(default_factory=dict)
    said: int = 0
    delivered: int = 0
    unconfirmed: dict[str, int] = field(default_factory=dict)  # by reason, without messages that arrived all the same

    @property
    def clean(self) -> bool:
        """Whether no rule was violated."""
        return not self.violations


class _Facts:
    """The history with the look-ups that the rules need."""

    def __init__(self, history: History, lease: float, grace: float) -> None:
        self.history = history
        self.lease = lease
        self.grace = grace
        self.end = max(
            [0.0, *(fault.span.ended for fault in history.faults), *(s.span.began for s in history.sessions)]
        )
        self.by_key: dict[str, list[Heard]] = defaultdict(list)
        for heard in history.heard:
            self.by_key[heard.key].append(heard)
        self.first_told: dict[str, float] = {}  # the time when either side was first told that a chat is over, by chat
        for parted in history.parted:
            self.first_told[parted.chat] = min(parted.at, self.first_told.get(parted.chat, parted.at))

    def session(self, serial: int) -> Session:
        return self.history.sessions[serial]

    def during(self, kinds: frozenset[str], began: float, ended: float, node: int | None = None) -> list[Fault]:
        """Return the faults of these kinds with an effect between two times, on this node or on any if it is None."""
        return [
            fault
            for fault in self.history.faults
            if fault.kind in kinds
            and (node is None or fault.node in (-1, node))
            and fault.span.meets(began - AFTERMATH_SECONDS, ended)
        ]

    def recipients(self, said: Said) -> list[Session]:
        """Return the sessions that owned the recipient's name then, or the latest one before if there was none."""
        named = [s for s in self.history.sessions if s.name == said.to and s.span.began <= said.at]
        return [s for s in named if s.span.holds(said.at)] or named[-1:]


Rule = Callable[[_Facts], Iterator[str]]


def _doubled(facts: _Facts) -> Iterator[str]:
    """A message arrives once, also if its recipient resumes on another connection."""
    for key, heard in facts.by_key.items():
        names = Counter(facts.session(h.session).name for h in heard)
        yield from (f"{key} reached {name} {count} times" for name, count in names.items() if count > 1)


def _misdelivered(facts: _Facts) -> Iterator[str]:
    """A message reaches the partner of the chat it was written to, and nobody else.

    A text client's line belongs to the chat that the node last announced to it, which it may not have read yet.
    Therefore it counts only that the recipient was told of a chat with the sender.
    """
    for heard in facts.history.heard:
        said, by = facts.history.said.get(heard.key), facts.session(heard.session)
        if said is None:
            yield f"{by.name} heard {heard.key!r}, which nobody said"
            continue
        sender = facts.session(said.session)
        if sender.kind is Kind.PERSON:
            right = (by.serial, sender.name) in facts.history.announced
        else:
            right = by.name == said.to and (by.kind is Kind.PERSON or heard.chat == said.chat)
        if not right or heard.sender != sender.name:
            yield f"{heard.key}, said to {said.to} in chat {said.chat!r}, reached {by.name} in {heard.chat!r}"


def _reordered(facts: _Facts) -> Iterator[str]:
    """Messages from one session to another arrive in the order in which they were sent."""
    latest: dict[tuple[int, int], tuple[int, str]] = {}
    for heard in facts.history.heard:
        said = facts.history.said.get(heard.key)
        if said is None:
            continue
        way = said.session, heard.session
        number = int(heard.key.rpartition("/")[2])
        before, key = latest.get(way, (0, ""))
        if number < before:
            yield f"{facts.session(heard.session).name} heard {heard.key} after {key}"
        latest[way] = number, heard.key


def _lost(facts: _Facts) -> Iterator[str]:
    """An acknowledged message has arrived.

    If the partner's node acknowledges, messages in flight may be lost with the partner's connection or node.
    """
    for said in facts.history.said.values():
        if said.outcomes[:1] != ["acked"] or said.key in facts.by_key:
            continue
        if any(s.kind is Kind.PROGRAM for s in facts.recipients(said)) or not _broke(facts, said):
            yield f"{said.key} to {said.to} in chat {said.chat} was acknowledged and never arrived"


def _broke(facts: _Facts, said: Said) -> bool:
    """Return whether the recipient's connection at the time of the message has broken since."""
    for session in facts.recipients(said):
        connections = [c for c in session.connections if c.span.began <= said.at]
        if connections and connections[-1].span.ended < OPEN:
            return True
    return False


def _unreported(facts: _Facts) -> Iterator[str]:
    """Every message has an outcome while its sender's session lives, and before its `bye`."""
    missing: dict[int, list[str]] = defaultdict(list)
    for said in facts.history.said.values():
        session = facts.session(said.session)
        if said.outcomes or session.end not in (End.OPEN, End.QUIT):
            continue
        if session.kind is not Kind.PERSON:
            yield f"{said.key} to {said.to} has no outcome ({session.end})"
        elif said.key not in facts.by_key and not _broke(facts, said):
            missing[session.serial].append(said.key)
    for serial, keys in missing.items():  # "nobody is chatting with you" doesn't tell a person which line is meant
        if len(keys) > facts.session(serial).refusals:
            yield f"{', '.join(keys[:5])}: {len(keys)} neither arrived nor reported"


def _contradicted(facts: _Facts) -> Iterator[str]:
    """A message has one outcome."""
    for said in facts.history.said.values():
        if len(set(said.outcomes)) > 1:
            yield f"{said.key}: {', '.join(said.outcomes)}"


def _two_owners(facts: _Facts) -> Iterator[str]:
    """A name has one owner. It is released when its owner quits, is away longer than the grace, or is cut off."""
    by_name: dict[str, list[Session]] = defaultdict(list)
    for session in facts.history.sessions:
        for before in by_name[session.name]:
            at = session.span.began
            if before.span.holds(at) and not _may_be_taken(facts, before, at):
                yield f"{session.name}: given to session {session.serial} while session {before.serial} had it"
        by_name[session.name].append(session)
    for name, sessions in by_name.items():
        owners = [s for s in sessions if s.end is End.OPEN]
        if len(owners) > 1:
            yield f"{name}: {len(owners)} owners at the end"


def _may_be_taken(facts: _Facts, session: Session, at: float) -> bool:
    connection = session.connection(at)
    if connection is not None:
        # The client can't notice that its node was suspended or cut off from Redis, or that a failover lost its claim.
        kinds = IMPAIRING | {"rollback"}
        if session.kind is Kind.PERSON and facts.during(frozenset({"term", "kill"}), at, at, connection.node):
            return True  # the session ended with its node; a client that doesn't read hasn't noticed yet
        if _unaware(facts, session, connection.node, at):
            return True
        return bool(facts.during(kinds, at, at + facts.lease, connection.node))
    last = next(c for c in reversed(session.connections) if c.span.began <= at)  # it may have reconnected since
    gone = last.span.ended
    if at - gone >= facts.grace:
        return True
    lost = facts.during(NODE_LOSS, gone - facts.lease, at, last.node)
    return bool(lost and facts.during(FORGETTING, gone - facts.lease, at))


def _unaware(facts: _Facts, session: Session, node: int, at: float) -> bool:
    """Return whether a person may have lost its connection, and with it its session, while its client read nothing."""
    return (
        session.kind is Kind.PERSON
        and session.end is End.BROKEN
        and any(
            fault.kind in CUTTING and fault.node == node and fault.span.meets(stall.began, at)
            for stall in session.stalls
            if stall.meets(at - NOTICE_SECONDS, at)
            for fault in facts.history.faults
        )
    )


def _forgotten(facts: _Facts) -> Iterator[str]:
    """A session waits for its client for the grace. It is forgotten earlier only if its node and Redis both lost it."""
    for session in facts.history.sessions:
        if session.end is not End.FORGOTTEN:
            continue
        last = session.connections[-1]
        gone, at = last.span.ended, session.span.ended
        if at - gone >= facts.grace or _taken(facts, session):
            continue
        node_lost = facts.during(NODE_LOSS, gone - facts.lease, at)
        if not (node_lost and facts.during(FORGETTING, gone - facts.lease - facts.grace, at)):
            yield f"session {session.serial} of {session.name}: bad_token after {at - gone:.1f} s"


def _taken(facts: _Facts, session: Session) -> bool:
    """Return whether another session has owned the name since. Another rule checks whether it was allowed to."""
    return any(
        s.name == session.name and session.span.began < s.span.began <= session.span.ended
        for s in facts.history.sessions
    )


def _unfounded(facts: _Facts) -> Iterator[str]:
    """A chat is `lost` only if one of its two sessions is over, or if the grace of one was about to end.

    It may also be `lost` if the other side left: the report may come late, from a session that has lost the reason. A
    session that moves at the moment of a call may not have known of the chat.
    """
    ended = {p.chat for p in facts.history.parted if p.reason != Reason.LOST}
    for parted in facts.history.parted:
        if parted.reason != Reason.LOST or parted.chat in ended:
            continue
        ours = facts.session(parted.session)
        theirs = [s for s in facts.history.sessions if s.name == parted.partner and s.span.holds(parted.since)]
        if (
            ours.kind is Kind.PROGRAM
            and len(facts.history.chats.get(parted.chat, ())) > 1
            and not _absent(facts, ours, parted.at)
            and theirs
            and all(_goes_on(facts, partner, parted) for partner in theirs)
        ):
            yield f"{ours.name} was told that {parted.partner} is lost (chat {parted.chat}) at {parted.at:.1f}"


def _goes_on(facts: _Facts, partner: Session, parted: Parted) -> bool:
    """Return whether the partner's session was there all the time and much later, and Redis had not lost the chat.

    If Redis lost it, one side may be told within the grace, and the other later, if its own node failed meanwhile.
    """
    at, first = parted.at, facts.first_told[parted.chat]
    if partner.kind is Kind.PERSON or partner.stranger or partner.span.ended < at + facts.lease + facts.grace:
        return False
    return not _absent(facts, partner, at) and not facts.during(FORGETTING, first - facts.grace, at)


def _absent(facts: _Facts, session: Session, at: float) -> bool:
    """Return whether the client had been away for about the grace: its node may have been about to end the session."""
    return any(
        a.span.ended <= at and b.span.began - a.span.ended >= facts.grace - AFTERMATH_SECONDS
        for a, b in zip(session.connections, session.connections[1:], strict=False)
    )


def _unasked(facts: _Facts) -> Iterator[str]:
    """A chat is `left` only if one of the two left it or called another user. (Only programs record requests.)"""
    told: dict[str, list[Parted]] = defaultdict(list)
    for parted in facts.history.parted:
        told[parted.chat].append(parted)
    for chat, both in told.items():
        names = sorted({facts.session(parted.session).name for parted in both})
        if len(names) > 1 and all(parted.reason == Reason.LEFT and not parted.asked for parted in both):
            yield f"{' and '.join(names)} were parted (chat {chat}) at {both[0].at:.1f}, and neither had asked for it"


def lopsided(history: History) -> Iterator[str]:
    """Yield each user who isn't the partner of its own partner, in the same chat. Call it once all is quiet."""
    views = {view.name: view for view in history.views}
    for view in views.values():
        if not view.partner:
            continue
        other = views.get(view.partner)
        if other is None:
            yield f"{view.name} believes to be with {view.partner}, who isn't there"
        elif other.partner != view.name or (view.chat and other.chat and view.chat != other.chat):
            yield f"{view.name} is with {view.partner} ({view.chat}), who is with {other.partner} ({other.chat})"


def _late(facts: _Facts) -> Iterator[str]:
    """A new user's claim and call are answered in time, if only with a refusal.

    Of one who still waits nobody knows yet how long that takes.
    """
    for arrival in facts.history.arrivals:
        if arrival.ended == OPEN:
            continue
        waited = min(arrival.answered, arrival.ended) - arrival.at
        asked = min(arrival.left, arrival.ended) - arrival.answered if arrival.answered < OPEN else 0.0
        again = len(facts.during(FORGETTING, arrival.at, arrival.ended))
        late = max(waited - facts.lease * (1 + again), asked) > ANSWER_SECONDS
        if late and not facts.during(SILENCING, arrival.at - facts.lease, arrival.ended, arrival.node):
            what = f"no name after {waited:.1f} s" if waited > asked else f"no word of a call after {asked:.1f} s"
            yield f"{arrival.name} on node {arrival.node} at {arrival.at:.1f} s: {what}"


def _odd(facts: _Facts) -> Iterator[str]:
    """No client received anything outside the protocol."""
    yield from facts.history.oddities


def _refusing(facts: _Facts) -> Iterator[str]:
    """Most messages arrive: only a small part is unconfirmed because a session or a name was lost."""
    delivered = len(facts.by_key)
    lost = sum(count for reason, count in unconfirmed(facts).items() if reason in (Reason.LOST, Reason.NAME_LOST))
    if delivered < LEAST_DELIVERED:
        yield f"only {delivered} messages arrived"
    elif lost > LOST_SHARE * (delivered + lost):
        yield f"{lost} of {delivered + lost} messages are unconfirmed because something was lost"


def unconfirmed(facts: _Facts) -> dict[str, int]:
    """Return the number of messages that were reported unconfirmed and didn't arrive, by reason."""
    reasons = (
        said.outcomes[0] for said in facts.history.said.values() if said.outcomes and said.key not in facts.by_key
    )
    return dict(Counter(reason for reason in reasons if reason != "acked"))


RULES: Final[dict[str, Rule]] = {
    "lost": _lost,
    "doubled": _doubled,
    "reordered": _reordered,
    "misdelivered": _misdelivered,
    "unreported": _unreported,
    "contradicted": _contradicted,
    "two owners": _two_owners,
    "forgotten": _forgotten,
    "unfounded": _unfounded,
    "unasked": _unasked,
    "lopsided": lambda facts: lopsided(facts.history),
    "late": _late,
    "odd": _odd,
    "refusing": _refusing,
}


def check(history: History, *, lease: float, grace: float) -> Verdict:
    """Check every promise against the history. `lease` and `grace` are the nodes' settings in seconds."""
    facts = _Facts(history, lease, grace)
    found = {name: list(rule(facts)) for name, rule in RULES.items()}
    violations = {name: lines for name, lines in found.items() if lines}
    return Verdict(violations, len(history.said), len(facts.by_key), unconfirmed(facts))
