"""The promises, held against what every client saw. No I/O.

Each rule is a function that looks at the history and yields one line for each violation. What a rule lets pass, and
why, stands beside it: the exceptions are those that the protocol itself makes, and no wider.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct, field

from relay.protocol.errors import Reason
from relay.tools.torture.history import OPEN, End, Fault, Heard, History, Kind, Parted, Said, Session

# Faults after which Redis doesn't know what it knew before.
FORGETTING: Final = frozenset({"flush", "evict", "redis-down", "rollback", "failover", "switch", "isolate"})
# Faults that end a node, or look like that from outside.
NODE_LOSS: Final = frozenset({"kill", "pause", "term", "partition"})
# Faults that keep a node that lives from Redis or from its clients.
IMPAIRING: Final = frozenset(
    {"pause", "partition", "redis-freeze", "redis-down", "failover", "switch", "isolate", "shard-freeze"}
)
# Faults that keep a node from answering anybody.
SILENCING: Final = frozenset({"kill", "term", "pause"})

# A fault's effects outlast it: a node that wakes up asks what it still owns, clients come back.
AFTERMATH_SECONDS: Final = 3.0
# Messages that may be lost with a session, and the least that has to arrive: refusing everything must not pass.
LOST_SHARE: Final = 0.10
LEAST_DELIVERED: Final = 100
# A claim or a call has its answer within a second, and what a busy machine adds to that; a claim also waits for the
# lease of a part of the directory that was forgotten.
ANSWER_SECONDS: Final = 3.0


class Verdict(Struct):
    """What the checker found. `violations`: by rule; empty lists are left out."""

    violations: dict[str, list[str]] = field(default_factory=dict)
    said: int = 0
    delivered: int = 0
    unconfirmed: dict[str, int] = field(default_factory=dict)  # by reason; those that arrived all the same left out

    @property
    def clean(self) -> bool:
        """Nothing was found."""
        return not self.violations


class _Facts:
    """The history, looked up by what the rules ask for."""

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
        self.first_told: dict[str, float] = {}  # when either side was first told that a chat is over, by chat
        for parted in history.parted:
            self.first_told[parted.chat] = min(parted.at, self.first_told.get(parted.chat, parted.at))

    def session(self, serial: int) -> Session:
        return self.history.sessions[serial]

    def during(self, kinds: frozenset[str], began: float, ended: float, node: int | None = None) -> list[Fault]:
        """Faults of these kinds that had an effect between two times; on this node, where that matters."""
        return [
            fault
            for fault in self.history.faults
            if fault.kind in kinds
            and (node is None or fault.node in (-1, node))
            and fault.span.meets(began - AFTERMATH_SECONDS, ended)
        ]

    def recipients(self, said: Said) -> list[Session]:
        """The sessions that had the name it was said to then; the latest before, where nobody had it."""
        named = [s for s in self.history.sessions if s.name == said.to and s.span.began <= said.at]
        return [s for s in named if s.span.holds(said.at)] or named[-1:]


Rule = Callable[[_Facts], Iterator[str]]


def _doubled(facts: _Facts) -> Iterator[str]:
    """A message arrives once, also at one who comes back on another connection."""
    for key, heard in facts.by_key.items():
        names = Counter(facts.session(h.session).name for h in heard)
        yield from (f"{key} reached {name} {count} times" for name, count in names.items() if count > 1)


def _misdelivered(facts: _Facts) -> Iterator[str]:
    """A message reaches the partner of the chat it was written to, and nobody else.

    A text client's line belongs to the chat that the node last announced to it, which it may not have read yet; so all
    that counts is that the other side was told of such a chat.
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
    """Messages of one session to one session come in the order in which they were said."""
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
    """What was acknowledged is there.

    Where the partner's node acknowledges, what was on its way may go with the partner's connection or node.
    """
    for said in facts.history.said.values():
        if said.outcomes[:1] != ["acked"] or said.key in facts.by_key:
            continue
        if any(s.kind is Kind.PROGRAM for s in facts.recipients(said)) or not _broke(facts, said):
            yield f"{said.key} to {said.to} in chat {said.chat} was acknowledged and never arrived"


def _broke(facts: _Facts, said: Said) -> bool:
    """The connection is gone that it was said to, or was about to be said to."""
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
    for serial, keys in missing.items():  # a person is told "nobody is chatting with you", not about which line
        if len(keys) > facts.session(serial).refusals:
            yield f"{', '.join(keys[:5])}: {len(keys)} neither arrived nor reported"


def _contradicted(facts: _Facts) -> Iterator[str]:
    """A message has one outcome."""
    for said in facts.history.said.values():
        if len(set(said.outcomes)) > 1:
            yield f"{said.key}: {', '.join(said.outcomes)}"


def _two_owners(facts: _Facts) -> Iterator[str]:
    """A name has one owner. It comes free when its owner quits, is away for longer than the grace, or is cut off."""
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
        # Its client can't tell: its node slept, or couldn't reach Redis, or Redis has lost the claim in a failover.
        kinds = IMPAIRING | {"rollback"}
        if session.kind is Kind.PERSON and facts.during(frozenset({"term", "kill"}), at, at, connection.node):
            return True  # over with its node; a client that doesn't read hasn't seen it yet
        return bool(facts.during(kinds, at, at + facts.lease, connection.node))
    last = next(c for c in reversed(session.connections) if c.span.began <= at)  # it may have come back since
    gone = last.span.ended
    if at - gone >= facts.grace:
        return True
    lost = facts.during(NODE_LOSS, gone - facts.lease, at, last.node)
    return bool(lost and facts.during(FORGETTING, gone - facts.lease, at))


def _forgotten(facts: _Facts) -> Iterator[str]:
    """A session waits for its client for the grace. It is forgotten only if its node died and Redis forgot it too."""
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
    """Somebody else has had the name since; whether that was right is another rule's."""
    return any(
        s.name == session.name and session.span.began < s.span.began <= session.span.ended
        for s in facts.history.sessions
    )


def _unfounded(facts: _Facts) -> Iterator[str]:
    """A chat is `lost` only with one of its two sessions, or about when the grace of one was over.

    Or with the word that the other one had left: it comes late, from a session that may have forgotten why. One that
    moves at the very moment in which it is called may have known nothing of the chat.
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
    """The partner's session was there all the time, and still is much later; nor had Redis forgotten the chat.

    If Redis forgot it, one side may hear so within the grace, and the other one later, if its own node broke meanwhile.
    """
    at, first = parted.at, facts.first_told[parted.chat]
    if partner.kind is Kind.PERSON or partner.stranger or partner.span.ended < at + facts.lease + facts.grace:
        return False
    return not _absent(facts, partner, at) and not facts.during(FORGETTING, first - facts.grace, at)


def _absent(facts: _Facts, session: Session, at: float) -> bool:
    """Whether its client had been away, about for the grace: its node may have been about to give it up."""
    return any(
        a.span.ended <= at and b.span.began - a.span.ended >= facts.grace - AFTERMATH_SECONDS
        for a, b in zip(session.connections, session.connections[1:], strict=False)
    )


def _unasked(facts: _Facts) -> Iterator[str]:
    """A chat is `left` because one of the two left it or called somebody else. (Only programs say so.)"""
    told: dict[str, list[Parted]] = defaultdict(list)
    for parted in facts.history.parted:
        told[parted.chat].append(parted)
    for chat, both in told.items():
        names = sorted({facts.session(parted.session).name for parted in both})
        if len(names) > 1 and all(parted.reason == Reason.LEFT and not parted.asked for parted in both):
            yield f"{' and '.join(names)} were parted (chat {chat}) at {both[0].at:.1f}, and neither had asked for it"


def lopsided(history: History) -> Iterator[str]:
    """Once all is quiet, whoever has a partner is that one's partner, in the same chat."""
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
    """Whoever comes is given a name, or told that that isn't possible now, and so is whoever asks for somebody."""
    for arrival in facts.history.arrivals:
        waited = min(arrival.answered, arrival.ended) - arrival.at
        asked = min(arrival.left, arrival.ended) - arrival.answered if arrival.answered < OPEN else 0.0
        again = len(facts.during(FORGETTING, arrival.at, arrival.ended))
        late = max(waited - facts.lease * (1 + again), asked) > ANSWER_SECONDS
        if late and not facts.during(SILENCING, arrival.at - facts.lease, arrival.ended, arrival.node):
            what = f"no name after {waited:.1f} s" if waited > asked else f"no word of a call after {asked:.1f} s"
            yield f"{arrival.name} on node {arrival.node} at {arrival.at:.1f} s: {what}"


def _odd(facts: _Facts) -> Iterator[str]:
    """Nobody was told what the protocol doesn't know."""
    yield from facts.history.oddities


def _refusing(facts: _Facts) -> Iterator[str]:
    """Most of what is said arrives: what doesn't, because a session or a name was lost, is a small part."""
    delivered = len(facts.by_key)
    lost = sum(count for reason, count in unconfirmed(facts).items() if reason in (Reason.LOST, Reason.NAME_LOST))
    if delivered < LEAST_DELIVERED:
        yield f"only {delivered} messages arrived"
    elif lost > LOST_SHARE * (delivered + lost):
        yield f"{lost} of {delivered + lost} messages are unconfirmed because something was lost"


def unconfirmed(facts: _Facts) -> dict[str, int]:
    """How many messages were reported unconfirmed and didn't arrive, by reason."""
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
    """Hold every promise against the history. `lease`, `grace`: the nodes' settings, in seconds."""
    facts = _Facts(history, lease, grace)
    found = {name: list(rule(facts)) for name, rule in RULES.items()}
    violations = {name: lines for name, lines in found.items() if lines}
    return Verdict(violations, len(history.said), len(facts.by_key), unconfirmed(facts))
