"""A Redis server: its data and scripts, what it refuses when, and everything that can happen to it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from simulator.redis.administration import ADMINISTRATION
from simulator.redis.cluster_commands import CLUSTER
from simulator.redis.commands import Command, Commands, UnknownCommand, fits
from simulator.redis.connection import ClientConnection
from simulator.redis.database import Change, Database, Value
from simulator.redis.endpoint import BufferLimit, Endpoint
from simulator.redis.information import information
from simulator.redis.keyspace import KEYSPACE
from simulator.redis.pubsub import PUBSUB, SUBSCRIPTIONS
from simulator.redis.replication import NO_HISTORY, PUBLISHED, Replication
from simulator.redis.replies import CommandError, Encoded
from simulator.redis.scripts import Scripts
from simulator.redis.sessions import SERVER_SESSIONS, SESSIONS

if TYPE_CHECKING:
    from simulator.redis.member import ClusterMember

DATABASES: Final = 16
# What a server without data uses; `maxmemory` below that has it refuse everything that grows.
_EMPTY_BYTES: Final = 1_000_000
_ENTRY_BYTES: Final = 64  # of a key or a field, besides its words
_MICROSECONDS: Final = 1_000_000

_OOM: Final = "OOM command not allowed when used memory > 'maxmemory'."
_READONLY: Final = "READONLY You can't write against a read only replica."
_MASTERDOWN: Final = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
_LOADING: Final = "LOADING Valkey is loading the dataset in memory"

_SETTINGS: Final = {
    b"client-output-buffer-limit": b"normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    b"maxmemory": b"0",
    b"maxmemory-policy": b"noeviction",
    b"replica-serve-stale-data": b"yes",
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All data of a server at one moment, as a file on its disk has them."""

    contents: tuple[tuple[dict[bytes, Value], dict[bytes, int]], ...]
    history: bytes  # the id of the history that it is from, if the server had replicas
    offset: int


class Server(Endpoint):
    """A server that holds data. It is alone, or takes part in replication, or is a member of a cluster."""

    commands = Commands(KEYSPACE, SUBSCRIPTIONS, PUBSUB, SESSIONS, SERVER_SESSIONS, ADMINISTRATION, CLUSTER)

    def __init__(
        self,
        clock: Callable[[], float],
        random: Random,
        *,
        host: str = "127.0.0.1",
        port: int = 6379,
        password: str | None = None,
    ) -> None:
        self.settings = dict(_SETTINGS)
        self.loading = False
        self.cluster: ClusterMember | None = None
        self._changes: list[Change] = []
        self.databases = [Database(number, self._changes.append) for number in range(DATABASES)]
        self._full = False
        self._caller: ClientConnection | None = None  # whose script is running
        self._script_wrote = False
        self._asking = False  # whether the command was sent after ASKING
        super().__init__(clock, random, host=host, port=port, password=password)
        self.replication = Replication(self)
        self.configure(self.settings)

    def begin(self) -> None:
        super().begin()
        self.scripts = Scripts(self._execute_for_script)

    # --- commands

    def prepare(self, client: ClientConnection, command: Command, words: list[bytes], asking: bool) -> None:
        client.database.now = self.now // 1000
        self._asking = asking
        if self._troubled:
            super().prepare(client, command, words, asking)
            self._refuse(client, command, words, asking)

    @property
    def _troubled(self) -> bool:
        """Whether any command may be refused for the state of the server."""
        trouble = self._full or self.loading or bool(self.denied)
        return trouble or self.replication.primary is not None or self.cluster is not None

    def _refuse(self, client: ClientConnection, command: Command, words: list[bytes], asking: bool) -> None:
        """Raise CommandError if the server can't carry out the command now."""
        if self.cluster is not None and command.keys is not None:
            self.cluster.check(client, command, command.keys(words), asking)
        if self._full and command.grows:
            raise CommandError(_OOM)
        if command.write and self.replication.primary is not None:
            raise CommandError(_READONLY)
        if not command.stale and self._stale:
            raise CommandError(_MASTERDOWN)
        if not command.loading and self.loading:
            raise CommandError(_LOADING)

    @property
    def _stale(self) -> bool:
        """Whether this is a replica that lacks its primary, and shall serve nothing then."""
        replica = self.replication.primary is not None and not self.replication.linked
        return replica and self.settings[b"replica-serve-stale-data"] == b"no"

    def finish(self) -> None:
        if self._changes:
            self.replication.send(self.take_changes())

    def take_changes(self) -> list[Change]:
        """Return the changes of the data since the last call."""
        changes = self._changes.copy()
        self._changes.clear()
        return changes

    # --- scripts

    def run_script(self, client: ClientConnection, sha: bytes, keys: int, words: list[bytes]) -> Encoded:
        """Run a script for a client. Raises CommandError."""
        self._caller, self._script_wrote = client, False
        try:
            return self.scripts.run(sha, keys, words, client.resp3)
        finally:
            self._caller = None

    def _execute_for_script(self, words: list[bytes]) -> object:
        """Carry out a command of the script that runs. Raises CommandError."""
        client = self._caller
        assert client is not None
        if not words:
            raise CommandError("ERR Please specify at least one argument for this call")
        try:
            command = self.commands.find(words)
        except CommandError as error:
            unknown = "ERR Unknown command called from script" if isinstance(error, UnknownCommand) else error.message
            raise CommandError(unknown) from None
        if not fits(command, words) or command.run is None:
            raise CommandError("ERR Wrong number of args calling command from script")
        if not command.in_scripts:
            raise CommandError("ERR This Valkey command is not allowed from script")
        if self._troubled:
            self._refuse_script(client, command, words)
        reply = command.run(client, words)
        self._script_wrote = self._script_wrote or command.write
        return reply

    def _refuse_script(self, client: ClientConnection, command: Command, words: list[bytes]) -> None:
        if command.name in self.denied:
            why = f"User default has no permissions to run the '{command.name}' command"
            raise CommandError(f"ERR ACL failure in script: {why}")
        if self.cluster is not None and command.keys is not None:
            self.cluster.check_script(client, command, command.keys(words), self._asking)
        if not command.stale and self._stale:
            raise CommandError(_MASTERDOWN)
        if command.write and self.replication.primary is not None:
            raise CommandError(_READONLY)
        if self._full and command.grows and not self._script_wrote:
            raise CommandError(_OOM)

    # --- pub/sub

    def publish(self, channel: bytes, message: bytes) -> int:
        """Publish a message, here and wherever else it is heard. Return the number of subscribers here."""
        count = super().publish(channel, message)
        if self.cluster is not None:
            self.cluster.broadcast("publish", channel, message)
        elif self.replication.replicas:
            self._changes.append((PUBLISHED, "publish", (channel, message)))
        return count

    def publish_shard(self, channel: bytes, message: bytes) -> int:
        """Publish a message on a sharded channel, here and at the replicas. Return the number of subscribers here."""
        count = super().publish_shard(channel, message)
        if self.cluster is not None:
            self.cluster.broadcast("spublish", channel, message)
        elif self.replication.replicas:
            self._changes.append((PUBLISHED, "spublish", (channel, message)))
        return count

    def hear(self, kind: str, words: Sequence[bytes | int]) -> None:
        """Deliver a message that was published at another server."""
        channel, message = words
        assert isinstance(channel, bytes) and isinstance(message, bytes)
        if kind == "publish":
            self.channels.publish(channel, message)
        else:
            self.channels.publish_shard(channel, message)
        self.flush()

    # --- answers

    def information(self, sections: tuple[bytes, ...]) -> bytes:
        return information(self, sections)

    def role(self) -> list[object]:
        return self.replication.role()

    def state(self) -> dict[object, object]:
        mode = b"standalone" if self.cluster is None else b"cluster"
        return {b"mode": mode, b"role": b"master" if self.replication.primary is None else b"replica", b"modules": []}

    @property
    def used_memory(self) -> int:
        """Roughly how many bytes the data take."""
        total = _EMPTY_BYTES
        for database in self.databases:
            for key, value in database.data.items():
                total += _ENTRY_BYTES + len(key)
                parts = [value] if isinstance(value, bytes) else [word for pair in value.items() for word in pair]
                total += sum(_ENTRY_BYTES // 2 + len(part) for part in parts)
        return total

    def configure(self, changes: Mapping[bytes, bytes]) -> None:
        """Change settings (CONFIG SET)."""
        self.settings.update(changes)
        self.fill_memory(0 < int(self.settings[b"maxmemory"]) < _EMPTY_BYTES)
        words = self.settings[b"client-output-buffer-limit"].split()
        if b"pubsub" in words:
            place = words.index(b"pubsub")
            self.pubsub_limit = BufferLimit(*map(int, words[place + 1 : place + 4]))

    # --- what happens to a server

    def join(self, member: "ClusterMember") -> None:
        """Become a member of a cluster, in which there is one database."""
        self.cluster = member
        del self.databases[1:]

    def role_changed(self) -> None:
        """Handle that this server became a primary or a replica."""
        for database in self.databases:
            database.obeys = self.replication.primary is not None

    def tick(self) -> None:
        """Drop expired keys, end a pause, and connect to the primary, as the server does ten times a second."""
        if self.frozen or not self.alive:
            return
        self.refresh()
        for database in self.databases:
            database.collect()
        self.finish()
        super().tick()
        self.replication.look()

    def refresh(self) -> None:
        """Read the clock."""
        self.now = int(self.clock() * _MICROSECONDS)
        for database in self.databases:
            database.now = self.now // 1000

    def kill(self) -> None:
        """End the process at once (SIGKILL): all connections are gone, and so are the data, but for a snapshot."""
        self.replication.stop()
        super().kill()
        for database in self.databases:
            database.load({}, {})

    def restart(self, snapshot: Snapshot | None = None) -> None:
        """Start a process in the place of the one that ended, with the data of a snapshot or none."""
        assert not self.alive, "it is running"
        self.alive = True
        self.loading = False
        self.settings = dict(_SETTINGS)
        self.configure(self.settings)
        if snapshot is None:
            self.replication.begin_anew()
        else:
            for database, contents in zip(self.databases, snapshot.contents, strict=True):
                database.load(*contents)
            self.replication.begin_anew(snapshot.history, snapshot.offset)
        self.begin()
        self.replication.look()
        if self.cluster is not None:
            self.cluster.started()

    def snapshot(self) -> Snapshot:
        """Return all data, as SAVE writes them to the disk."""
        self.refresh()
        known = self.replication.remembered
        history = (self.replication.id, self.replication.offset) if known else (NO_HISTORY, 0)
        return Snapshot(tuple(database.contents() for database in self.databases), *history)

    def set_loading(self, loading: bool) -> None:
        """Have the server answer LOADING to most commands, or end that."""
        self.loading = loading

    def fill_memory(self, full: bool) -> None:
        """Have the server refuse what takes more memory (`-OOM`), or accept it again."""
        self._full = full

    def evict(self, keys: Iterable[bytes], database: int = 0) -> None:
        """Delete keys, as a server does that needs memory and may evict."""
        self.refresh()
        for key in keys:
            self.databases[database].delete(key)
        self.finish()
