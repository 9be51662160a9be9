"""One member of a cluster: what it knows of the others and of the slots, and which commands it carries out."""

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from simulator.redis.replies import CommandError
from simulator.redis.slots import SlotTable, slot_of

if TYPE_CHECKING:
    from simulator.redis.cluster import Cluster
    from simulator.redis.commands import Command
    from simulator.redis.connection import ClientConnection
    from simulator.redis.server import Server

_CROSSSLOT: Final = "CROSSSLOT Keys in request don't hash to the same slot"
_NOT_SERVED: Final = "CLUSTERDOWN Hash slot not served"
_DOWN: Final = "CLUSTERDOWN The cluster is down"
_TRYAGAIN: Final = "TRYAGAIN Multiple keys request during rehashing of slot"


class Message(NamedTuple):
    """Something that was published, on its way to another member."""

    kind: str  # "publish", or "spublish" on a sharded channel
    channel: bytes
    words: bytes


class Peer:
    """What a member knows of another one, or of itself."""

    def __init__(self, member: "ClusterMember") -> None:
        self.id = member.id
        self.host, self.port = member.server.host, member.server.port
        self.primary: str | None = None  # the id of its primary, if it is a replica
        self.epoch = 0  # the config epoch of its slots
        self.heard = 0.0  # when it was last heard
        self.silent = False  # for longer than a node timeout, as far as this member knows (PFAIL)
        self.failed: float | None = None  # since when most primaries agree on that (FAIL)


class ClusterMember:
    """A server's part in its cluster: its view of the others and of the slots."""

    def __init__(self, server: "Server", cluster: "Cluster", random: Random) -> None:
        self.server = server
        self.id = f"{random.getrandbits(160):040x}"
        self.epoch = 0  # the highest that it has heard of
        self.voted = 0  # the last epoch in which it voted
        self.votes: dict[str, float] = {}  # when it last voted on the place of a primary, by that one's id
        self.peers: dict[str, Peer] = {}  # all members by their ids, itself included
        self.owners = SlotTable()
        self.unclaimed: set[int] = set()  # slots whose owner in this view doesn't claim them any more
        self.migrating: dict[int, str] = {}  # slots that are leaving, and where to
        self.importing: dict[int, str] = {}  # slots that are coming, and where from
        self.well = True  # whether it serves keys
        self.well_from = 0.0  # not before that it does so again
        self.elects: float | None = None  # when this replica asks for votes
        self.retries = 0.0  # not before that it plans another election
        self.unread: list[Message] = []  # what came while the process was frozen
        self._cluster = cluster

    # --- views

    @property
    def me(self) -> Peer:
        """What it knows of itself."""
        return self.peers[self.id]

    @property
    def present(self) -> bool:
        """Whether its process is there and runs."""
        return self.server.alive and not self.server.frozen

    def shard_of(self, id: str) -> str:
        """Return the id of the primary of a member's shard."""
        return self.peers[id].primary or id

    def member(self, id: str) -> "ClusterMember":
        """Return the member with this id."""
        return self._cluster.by_id[id]

    def assign(self, slot: int, owner: str | None) -> None:
        """Give a slot another owner in this view. Whoever is subscribed here to its channels has to go elsewhere."""
        before, self.owners[slot] = self.owners[slot], owner
        self.unclaimed.discard(slot)
        if before is not None and before != owner and self.shard_of(before) == self.shard_of(self.id):
            self._cluster.left(self, slot)

    # --- commands

    def check(self, client: "ClientConnection", command: "Command", keys: Sequence[bytes], asking: bool) -> None:
        """Raise CommandError unless this member serves the keys of a command."""
        if not keys:
            return
        slot = slot_of(keys[0])
        if any(slot_of(key) != slot for key in keys):
            raise CommandError(_CROSSSLOT)
        owner = self.owners[slot]
        if owner is None:
            raise CommandError(_NOT_SERVED)
        if not self.well and not command.shard_channel:  # channels are served also then
            raise CommandError(_DOWN)
        if not command.shard_channel and self._moves(client, slot, owner, keys, asking):
            return
        if owner == self.id:
            return
        reads = client.reads_replica and not command.write
        if self.me.primary == owner and (reads or command.shard_channel):
            return
        raise CommandError(b"MOVED " + self._place(slot, owner))

    def _moves(self, client: "ClientConnection", slot: int, owner: str, keys: Sequence[bytes], asking: bool) -> bool:
        """Return whether a slot is coming, and this command is meant for that. Raises CommandError if it is leaving."""
        if owner == self.id and slot in self.migrating:
            missing = [key for key in keys if client.database.get(key) is None]
            if missing:
                if len(set(missing)) < len(set(keys)):
                    raise CommandError(_TRYAGAIN)
                raise CommandError(b"ASK " + self._place(slot, self.migrating[slot]))
        if slot not in self.importing or not asking:
            return False
        if len(keys) > 1 and any(client.database.get(key) is None for key in keys):
            raise CommandError(_TRYAGAIN)
        return True

    def _place(self, slot: int, id: str) -> bytes:
        peer = self.peers[id]
        return b"%d %b:%d" % (slot, peer.host, peer.port)

    def check_script(self, client: "ClientConnection", command: "Command", keys: Sequence[bytes], asking: bool) -> None:
        """Raise CommandError unless this member serves keys that a script uses, whatever their slots are."""
        try:
            self.check(client, command, keys, asking)
        except CommandError as error:
            word = error.message.partition(b" ")[0]
            if error.message == _DOWN.encode():
                why = f"ERR Can not execute a command '{command.name}' while the cluster is down"
            elif word in (b"MOVED", b"ASK", b"CLUSTERDOWN"):
                why = "ERR Attempted to access a non local key in a cluster node"
            else:
                raise
            raise CommandError(why) from None

    def started(self) -> None:
        """Handle that the process was started anew."""
        self.unread.clear()
        self._cluster.started(self)

    def hear(self, message: Message) -> None:
        """Pass a message of another member on to the subscribers here."""
        self.server.hear(message.kind, (message.channel, message.words))

    def broadcast(self, kind: str, channel: bytes, message: bytes) -> None:
        """Tell the other members of a published message; of one on a sharded channel, those of this shard."""
        own = self.shard_of(self.id)
        for id in self.peers:
            if id != self.id and (kind == "publish" or self.shard_of(id) == own):
                self._cluster.pass_on(self, self.member(id), kind, channel, message)
