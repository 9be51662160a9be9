"""Redis Cluster: which member serves a key, as each member sees it, and how they agree on that.

Each member has its own view of all others and of the slots' owners, and tells it to the members that hear it. Every
claim to slots carries the config epoch under which its primary got them, and the higher one wins. A primary that most
others find silent has failed; its replica asks the primaries for their votes and takes its slots under a new epoch.
Whoever doesn't hear of that goes on as before, until its patience ends and it declares the cluster down.

`Cluster.tick` moves all members on; what they publish to each other goes at once, or when the harness lets it
(`Cluster.later`). Patience is measured on a clock that never steps (`monotonic`).
"""

from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Final

from simulator.redis.member import ClusterMember, Message, Peer
from simulator.redis.replication import Step, at_once
from simulator.redis.slots import SLOTS, slot_of

if TYPE_CHECKING:
    from simulator.redis.server import Server

# Seconds after its start, or after it was cut off, in which a member says that the cluster is down.
START_SECONDS: Final = 2.0
REJOIN_SECONDS: Final = (0.5, 5.0)  # a node timeout, within these bounds
# How long a replica waits before it asks for votes: this, up to as much again, and more for each replica that is ahead.
ELECTION_SECONDS: Final = 0.5
RANK_SECONDS: Final = 1.0
# A failed primary that is back with its slots is no longer failed after so many node timeouts.
FORGIVEN: Final = 2


class Cluster:
    """A cluster of servers: the first `primaries` of them share the slots, the others are their replicas, in turn.

    `reaches(one, other)` tells whether two members hear each other; the harness may replace it, or use `cut_off`.
    """

    def __init__(
        self,
        servers: Sequence["Server"],
        monotonic: Callable[[], float],
        random: Random,
        *,
        primaries: int = 3,
        node_timeout: float = 1.0,
    ) -> None:
        self.node_timeout = node_timeout
        self.later: Callable[[Step], None] = at_once
        self.reaches: Callable[[Server, Server], bool] = lambda one, other: True
        self.failovers = 0
        self.members = [ClusterMember(server, self, random) for server in servers]
        self.by_id = {member.id: member for member in self.members}
        self._monotonic = monotonic
        self._random = random
        self._cut: set[ClusterMember] = set()
        # The state of two views when a member last heard another one's claims.
        self._learned: dict[tuple[str, str], tuple[int, int, int]] = {}
        self._under_way: dict[tuple[str, str], deque[Message]] = {}
        self._form(primaries)

    def _form(self, primaries: int) -> None:
        now = self._monotonic()
        for number, member in enumerate(self.members):
            member.server.join(member)
            member.epoch = len(self.members)
            member.peers = {other.id: Peer(other) for other in self.members}
            for place, other in enumerate(self.members):
                peer = member.peers[other.id]
                peer.heard = now
                peer.epoch = place + 1 if place < primaries else 0
                if place >= primaries:
                    peer.primary = self.members[place % primaries].id
            for place in range(primaries):
                first, end = (SLOTS * bound // primaries for bound in (place, place + 1))
                for slot in range(first, end):
                    member.owners[slot] = self.members[place].id
            if number >= primaries:
                member.server.replication.follow(self.members[number % primaries].server)

    def member(self, server: "Server") -> ClusterMember:
        """Return a server's part in this cluster."""
        return next(member for member in self.members if member.server is server)

    # --- who hears whom

    def cut_off(self, server: "Server") -> None:
        """Let a member hear no other one, and be heard by none. Clients and its replicas still reach it."""
        self._cut.add(self.member(server))

    def heal(self) -> None:
        """Let all members hear each other again."""
        self._cut.clear()

    def _hear(self, one: ClusterMember, other: ClusterMember) -> bool:
        if one is other:
            return True
        cut = one in self._cut or other in self._cut
        return one.present and other.present and not cut and self.reaches(one.server, other.server)

    def pass_on(self, one: ClusterMember, other: ClusterMember, kind: str, channel: bytes, message: bytes) -> None:
        """Send a published message to another member. Messages on one way keep their order."""
        self._under_way.setdefault((one.id, other.id), deque()).append(Message(kind, channel, message))
        self.later(lambda: self._deliver(one, other))

    def _deliver(self, one: ClusterMember, other: ClusterMember) -> None:
        message = self._under_way[one.id, other.id].popleft()
        if other.server.frozen:
            other.unread.append(message)
        elif self._hear(one, other):
            other.hear(message)

    # --- what members do

    def tick(self) -> None:
        """Move all members on. Call this ten times a second."""
        now = self._monotonic()
        for member in self.members:
            for other in self.members:
                if member is not other and self._hear(member, other):
                    self._learn(member, other, now)
        present = [member for member in self.members if member.present]
        for member in present:
            unread, member.unread = member.unread, []
            for message in unread:
                member.hear(message)
        for member in present:
            self._watch(member, now)
        for member in present:
            self._judge(member, now)
        for member in present:
            self._consider_election(member, now)
        for member in present:
            self._settle(member, now)

    def _learn(self, member: ClusterMember, other: ClusterMember, now: float) -> None:
        """Have a member hear another one: that it lives, what it is, and what it claims."""
        peer = member.peers[other.id]
        peer.heard, peer.silent = now, False
        peer.primary = other.me.primary
        member.epoch = max(member.epoch, other.epoch)
        peer.epoch = max(peer.epoch, other.me.epoch)
        if peer.failed is not None:
            self._forgive(member, peer, now)
        if peer.primary is None and member.me.primary is None and peer.epoch == member.me.epoch and peer.id > member.id:
            member.epoch += 1  # two primaries never keep the same config epoch: the lower id takes a new one
            member.me.epoch = member.epoch
        # What was heard before changes nothing, unless one of the two views is another one since.
        state = (member.owners.version, other.owners.version, other.me.epoch)
        if other.me.primary is None and self._learned.get((member.id, other.id)) != state:
            self._hear_claims(member, other)
            self._learned[member.id, other.id] = (member.owners.version, other.owners.version, other.me.epoch)

    def _forgive(self, member: ClusterMember, peer: Peer, now: float) -> None:
        """End the failure of a member that is heard again; of a primary with slots only after a while."""
        assert peer.failed is not None
        waited = now - peer.failed > FORGIVEN * self.node_timeout
        if peer.primary is not None or waited or not member.owners.count(peer.id):
            peer.failed = None

    def _hear_claims(self, member: ClusterMember, other: ClusterMember) -> None:
        """Have a member adopt the slots that another one claims under a higher epoch than their owner's.

        Under which epoch doesn't matter for a slot that its owner doesn't claim any more: it may have taken another one
        later, and so have the higher epoch.
        """
        mine, former = member.owners, member.me.primary or member.id
        lost = set()
        claimed = other.owners.of(other.id)
        given_away = set(mine.of(other.id)).difference(claimed)
        if not given_away <= member.unclaimed:
            member.unclaimed |= given_away
            mine.version += 1  # earlier claims of these slots have to be heard again
        for slot in claimed:
            holder = mine[slot]
            if holder == other.id:
                member.unclaimed.discard(slot)
                continue
            sure = holder is not None and slot not in member.unclaimed
            if sure and member.peers[holder or ""].epoch >= other.me.epoch:
                continue
            if holder == former:
                lost.add(slot)
            member.assign(slot, other.id)
            member.migrating.pop(slot, None)
        if lost and not mine.count(former):
            self.follow(member, other)
        elif lost and member.me.primary is None:
            server = member.server
            server.evict([key for key in server.databases[0].data if slot_of(key) in lost])  # they are another's now

    def follow(self, member: ClusterMember, primary: ClusterMember) -> None:
        """Make a member the replica of another one."""
        member.me.primary = primary.id
        member.elects = None
        member.migrating.clear()
        member.importing.clear()
        member.server.replication.follow(primary.server)

    def left(self, member: ClusterMember, slot: int) -> None:
        """Handle that a slot isn't that of a member's shard any more."""
        server = member.server
        server.channels.drop_shards(lambda name: slot_of(name) == slot)
        server.flush()

    def _watch(self, member: ClusterMember, now: float) -> None:
        """Have a member notice who is silent."""
        for peer in member.peers.values():
            if peer.id == member.id:
                peer.heard = now
            elif now - peer.heard > self.node_timeout:
                peer.silent = True

    def _judge(self, member: ClusterMember, now: float) -> None:
        """Have a member find out whose silence most primaries confirm, and tell all that it hears."""
        electors = member.owners.owners
        for peer in member.peers.values():
            if not peer.silent or peer.failed is not None:
                continue
            confirmed = sum(
                self._hear(member, self.by_id[id]) and self.by_id[id].peers[peer.id].silent for id in electors
            )
            if 2 * confirmed > len(electors):
                for other in self.members:
                    if other.id != peer.id and self._hear(member, other) and other.peers[peer.id].failed is None:
                        other.peers[peer.id].failed = now

    # --- elections

    def _consider_election(self, member: ClusterMember, now: float) -> None:
        """Have a replica of a failed primary plan to take its place, and do it in time."""
        primary = member.me.primary
        if primary is None or member.peers[primary].failed is None or not member.owners.count(primary):
            member.elects = None
            return
        if member.elects is None:
            if now >= member.retries:
                self._hear_of_slots(member, primary)
                wait = ELECTION_SECONDS + self._random.uniform(0, ELECTION_SECONDS)
                member.elects = now + wait + RANK_SECONDS * self._rank(member)
        elif now >= member.elects:
            member.elects = None
            patience = max(2 * self.node_timeout, 2.0)
            member.retries = now + 2 * patience
            if self._elect(member, primary, now):
                self.take_over(member)

    def _hear_of_slots(self, member: ClusterMember, primary: str) -> None:
        """Have a replica learn what others know of its silent primary's slots (UPDATE).

        The primary may have taken a slot just before, or given one away. Nobody would vote for an older claim.
        """
        for other in self.members:
            if other is member or not self._hear(member, other):
                continue
            for owner in {primary, *(other.owners[slot] for slot in member.owners.of(primary))} - {None}:
                assert owner is not None
                epoch = other.peers[owner].epoch
                if epoch <= member.peers[owner].epoch:
                    continue
                member.peers[owner].epoch, member.epoch = epoch, max(member.epoch, epoch)
                for slot in other.owners.of(owner):
                    holder = member.owners[slot]
                    if holder != owner and (holder is None or member.peers[holder].epoch < epoch):
                        member.assign(slot, owner)

    def _rank(self, member: ClusterMember) -> int:
        """Return how many replicas of the same primary have more of its data."""
        offset = member.server.replication.offset
        rivals = (other for other in self.members if other.present and other.me.primary == member.me.primary)
        return sum(other.server.replication.offset > offset for other in rivals)

    def _elect(self, member: ClusterMember, primary: str, now: float) -> bool:
        """Have a replica ask for votes. Return whether it has those of most primaries."""
        member.epoch += 1
        electors = member.owners.owners
        votes = 0
        for id in electors:
            voter = self.by_id[id]
            if not self._hear(member, voter) or voter.me.primary is not None or voter.voted >= member.epoch:
                continue
            voter.epoch = max(voter.epoch, member.epoch)
            recent = now - voter.votes.get(primary, float("-inf")) < FORGIVEN * self.node_timeout
            if voter.peers[primary].failed is None or recent or self._claimed_later(voter, member, primary):
                continue
            voter.voted, voter.votes[primary] = member.epoch, now
            votes += 1
        return 2 * votes > len(electors)

    def _claimed_later(self, voter: ClusterMember, member: ClusterMember, primary: str) -> bool:
        """Return whether a voter knows of an owner of these slots with a later claim than the primary's."""
        epoch = member.peers[primary].epoch
        owners = {voter.owners[slot] for slot in member.owners.of(primary)}
        return any(owner is not None and voter.peers[owner].epoch > epoch for owner in owners)

    def take_over(self, member: ClusterMember) -> None:
        """Make a replica the owner of its primary's slots, under a new epoch. Those that hear it learn of it soon."""
        primary = member.me.primary
        assert primary is not None
        self.failovers += 1
        for slot in member.owners.of(primary):
            member.assign(slot, member.id)
        member.me.primary = None
        member.epoch = max(member.epoch, member.me.epoch + 1)
        member.me.epoch = member.epoch
        member.server.replication.lead()
        now = self._monotonic()
        for other in self.members:
            if other is not member and self._hear(other, member):
                self._learn(other, member, now)

    def switch(self, server: "Server") -> None:
        """Have a replica take the place of its live primary, without a loss (CLUSTER FAILOVER)."""
        member = self.member(server)
        link = server.replication.link
        if link is not None:
            link.catch_up()
        member.epoch = max(other.epoch for other in self.members) + 1
        self.take_over(member)

    # --- the state of the cluster

    def _settle(self, member: ClusterMember, now: float) -> None:
        """Have a member decide whether the cluster can serve: all slots are, and it hears most primaries."""
        electors = member.owners.owners
        covered = member.owners.whole and all(member.peers[id].failed is None for id in electors)
        heard = sum(member.peers[id].failed is None and not member.peers[id].silent for id in electors)
        if not covered or 2 * heard <= len(electors):
            member.well = False
            if 2 * heard <= len(electors):
                low, high = REJOIN_SECONDS
                member.well_from = now + min(max(self.node_timeout, low), high)
        elif now >= member.well_from:
            member.well = True

    def started(self, member: ClusterMember) -> None:
        """Handle that a member's process was started anew: it remembers its cluster, and serves after a moment."""
        now = self._monotonic()
        member.well, member.well_from = False, now + START_SECONDS
        member.elects = None
        for peer in member.peers.values():
            peer.heard, peer.silent, peer.failed = now, False, None
        if member.me.primary is not None:
            member.server.replication.follow(self.by_id[member.me.primary].server)

    # --- moving slots

    def begin_move(self, slot: int, target: "Server") -> None:
        """Begin to move a slot to another primary: keys that are missing are looked for there from now on."""
        new = self.member(target)
        owner = new.owners[slot]
        assert owner is not None
        old = self.by_id[owner]
        new.importing[slot] = old.id
        old.migrating[slot] = new.id

    def _movers(self, slot: int) -> tuple[ClusterMember, ClusterMember] | None:
        """Return the members between which a slot moves; None if one isn't there, or isn't a primary any more."""
        for old in self.members:
            if slot in old.migrating:
                new = self.by_id[old.migrating[slot]]
                if old.present and new.present and new.me.primary is None and slot in new.importing:
                    return old, new
        return None

    def move_keys(self, slot: int, most: int = 100) -> int:
        """Move some of the keys of a slot that moves (MIGRATE). Return how many are left; 0 if it moves no longer."""
        movers = self._movers(slot)
        if movers is None:
            return 0
        source, target = (member.server for member in movers)
        source.refresh()
        target.refresh()
        keys = [key for key in source.databases[0].names() if slot_of(key) == slot]
        for key in keys[:most]:
            target.databases[0].copy_from(source.databases[0], key)
            source.databases[0].delete(key)
        source.finish()
        target.finish()
        return max(0, len(keys) - most)

    def end_move(self, slot: int) -> bool:
        """Make the new primary the owner of a slot that moves, with all keys that are left. Others learn of it soon.

        Return False if that isn't possible any more, as one of the two has failed meanwhile. Then nothing moves.
        """
        movers = self._movers(slot)
        while self.move_keys(slot):
            pass
        for member in self.members:
            member.migrating.pop(slot, None)
            member.importing.pop(slot, None)
        if movers is None:
            return False
        old, new = movers
        if new.me.epoch < new.epoch or any(
            peer.epoch == new.me.epoch for peer in new.peers.values() if peer is not new.me
        ):
            new.epoch += 1
            new.me.epoch = new.epoch
        new.assign(slot, new.id)
        old.peers[new.id].epoch = max(old.peers[new.id].epoch, new.me.epoch)
        old.assign(slot, new.id)
        return True
