"""Replication: what a primary sends to its replicas, when they have it, and which history a server has.

A primary sends the changes of its data after each command, and published messages with them. A replica applies them
when the harness lets it (`Replication.later`), always in their order. What was sent and isn't applied yet is lost if
the primary dies: a replica that is promoted then is behind.

A history has an id. Who is promoted begins a new one, and remembers the id of the one before and where it left it: that
tells a server that comes back whether its own data are a part of it, or have to be thrown away.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from simulator.redis.database import Change
    from simulator.redis.server import Server

Step: TypeAlias = Callable[[], None]

NO_HISTORY: Final = b"0" * 40
# The number of the database in the entry for a published message, which has none.
PUBLISHED: Final = -1
_ENTRY_BYTES: Final = 40  # of each entry in the stream, besides its words


def at_once(step: Step) -> None:
    """Do what would be done later now."""
    step()


class Link:
    """The stream from a primary to one replica, which begins with a copy of all data."""

    def __init__(self, primary: "Server", replica: "Server") -> None:
        self.primary = primary
        self.replica = replica
        self.synchronized = False
        self.over = False
        self._under_way: deque[tuple[Sequence[Change], int]] = deque()

    def begin(self) -> None:
        """Have the replica ask for the data."""
        self.replica.replication.later(self._copy)

    def send(self, changes: "Sequence[Change]", offset: int) -> None:
        """Send changes, after which the stream is at this offset."""
        if self.synchronized:
            self._under_way.append((changes, offset))
            self.replica.replication.later(self.deliver)

    def deliver(self) -> None:
        """Have the replica apply the oldest of the changes that are under way."""
        if not self.over and self._under_way:
            self.replica.replication.apply(*self._under_way.popleft())

    def catch_up(self) -> None:
        """Have the replica apply everything that is under way."""
        while self._under_way and not self.over:
            self.deliver()

    def cut(self) -> None:
        """End the stream. What is under way is lost."""
        if not self.over:
            self.over = True
            self._under_way.clear()
            self.primary.replication.replicas.remove(self)

    def _copy(self) -> None:
        if not self.over and not self.synchronized:
            self.synchronized = True
            self.replica.replication.copy_from(self.primary)


class Replication:
    """A server's part in replication: its history, its replicas, and the link to its primary if it is a replica.

    `later(step)` is called for each step of a replica: the harness calls `step` when it shall happen. Without another
    one everything happens at once. `reachable(primary)` tells whether a replica can connect to its primary now.
    """

    def __init__(self, server: "Server") -> None:
        self.later: Callable[[Step], None] = at_once
        self.reachable: Callable[[Server], bool] = lambda primary: primary.alive and not primary.frozen
        self.id = self._new_id(server)
        self.former_id = NO_HISTORY  # the history before it, up to this offset
        self.former_end = -1
        self.offset = 0
        self.primary: Server | None = None
        self.link: Link | None = None
        self.replicas: list[Link] = []
        self.remembered = False  # whether there ever was a replica: only then a snapshot says which history it is from
        self._server = server

    @staticmethod
    def _new_id(server: "Server") -> bytes:
        return b"%040x" % server.random.getrandbits(160)

    # --- roles

    @property
    def linked(self) -> bool:
        """Whether this is a replica that hears its primary."""
        return self.link is not None and not self.link.over and self.link.synchronized

    def follow(self, primary: "Server") -> None:
        """Become the replica of a server (REPLICAOF). The own data are replaced once it can be reached."""
        if primary is not self.primary:
            self._leave()
            self.primary = primary
            self._server.role_changed()
        self.look()

    def lead(self) -> None:
        """Become a primary (REPLICAOF NO ONE), with the data that are here, as a new history."""
        if self.primary is None:
            return
        self._leave()
        self.primary = None
        self.former_id, self.former_end = self.id, self.offset
        self.id = self._new_id(self._server)
        self._server.role_changed()

    def begin_anew(self, former_id: bytes = NO_HISTORY, offset: int = 0) -> None:
        """Begin a new history, as a server does that starts. `former_id` is that of the snapshot which it loaded."""
        self.stop()
        self.id = self._new_id(self._server)
        self.former_id, self.former_end = former_id, offset if former_id != NO_HISTORY else -1
        self.offset = offset
        self.remembered = False

    def stop(self) -> None:
        """Cut all links, as the server is gone."""
        for link in list(self.replicas):
            link.cut()
        self._leave()

    def _leave(self) -> None:
        if self.link is not None:
            self.link.cut()
            self.link = None

    def look(self) -> None:
        """Connect to the primary, if this is a replica without a link and it can be reached."""
        if self.primary is None or not self._server.alive or (self.link is not None and not self.link.over):
            return
        if self.reachable(self.primary):
            self.link = Link(self.primary, self._server)
            self.primary.replication.replicas.append(self.link)
            self.link.begin()

    # --- the stream

    def send(self, changes: "Sequence[Change]") -> None:
        """Send the changes of a command to all replicas. Without any there is no stream, and none is counted."""
        if not self.remembered:
            return
        self.offset += sum(_ENTRY_BYTES + _size(change) for change in changes)
        for link in list(self.replicas):
            link.send(changes, self.offset)

    def apply(self, changes: "Sequence[Change]", offset: int) -> None:
        """Apply what the primary has sent, and pass it on."""
        server = self._server
        for number, change, arguments in changes:
            if number == PUBLISHED:
                server.hear(change, arguments)
            else:
                server.databases[number].apply(change, arguments)
        server.take_changes()
        self.offset = offset
        for link in list(self.replicas):
            link.send(changes, offset)

    def copy_from(self, primary: "Server") -> None:
        """Take over all data of the primary, and its history."""
        theirs = primary.replication
        theirs.remembered = True
        if not theirs.includes(self.id, self.offset):
            self.former_id, self.former_end = NO_HISTORY, -1
        elif self.id != theirs.id:
            self.former_id, self.former_end = self.id, theirs.former_end
        self.id, self.offset = theirs.id, theirs.offset
        for own, other in zip(self._server.databases, primary.databases, strict=True):
            own.load(*other.contents())
        for link in list(self.replicas):
            link.cut()  # they ask for everything again

    def includes(self, id: bytes, offset: int) -> bool:
        """Return whether data of a history up to an offset are a part of this server's."""
        return (id == self.id and offset <= self.offset) or (id == self.former_id and offset <= self.former_end)

    # --- answers

    def role(self) -> list[object]:
        """Return the answer to ROLE."""
        if self.primary is None:
            replicas: list[object] = [
                [link.replica.host, b"%d" % link.replica.port, b"%d" % link.replica.replication.offset]
                for link in self.replicas
                if link.synchronized
            ]
            return [b"master", self.offset, replicas]
        state = b"connected" if self.linked else b"connect" if self.link is None or self.link.over else b"sync"
        return [b"slave", self.primary.host, self.primary.port, state, self.offset if self.linked else -1]

    def information(self) -> str:
        """Return this section of INFO."""
        if self.primary is None:
            lines = ["role:master"]
        else:
            lines = [
                "role:slave",
                f"master_host:{self.primary.host.decode()}",
                f"master_port:{self.primary.port}",
                f"master_link_status:{'up' if self.linked else 'down'}",
                f"slave_repl_offset:{self.offset}",
                "slave_read_only:1",
            ]
        replicas = [link for link in self.replicas if link.synchronized]
        lines.append(f"connected_slaves:{len(replicas)}")
        for number, link in enumerate(replicas):
            its = link.replica
            where = f"ip={its.host.decode()},port={its.port},state=online,offset={its.replication.offset},lag=0"
            lines.append(f"slave{number}:{where}")
        lines += [
            "master_failover_state:no-failover",
            f"master_replid:{self.id.decode()}",
            f"master_replid2:{self.former_id.decode()}",
            f"master_repl_offset:{self.offset}",
            f"second_repl_offset:{self.former_end + 1 if self.former_end >= 0 else -1}",
        ]
        return "\r\n".join(lines)


def _size(change: "Change") -> int:
    return sum(len(word) if isinstance(word, bytes) else 8 for word in change[2])
