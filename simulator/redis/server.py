"""A Redis server: its data, its connections, what it refuses when, and everything that can happen to it.

It does no I/O and has no clock of its own. The network hands it bytes (`connect`, `ClientConnection.feed`), and the
harness calls `tick` ten times a second. Time is what `clock` says: the server's wall clock, which may be set.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from simulator.redis.administration import ADMINISTRATION
from simulator.redis.commands import Command, Commands, UnknownCommand, fits, wrong_number
from simulator.redis.connection import ClientConnection
from simulator.redis.database import Change, Database, Value
from simulator.redis.information import information
from simulator.redis.keyspace import KEYSPACE
from simulator.redis.pubsub import PUBSUB, Channels
from simulator.redis.replication import NO_HISTORY, PUBLISHED, Replication
from simulator.redis.replies import CommandError, Encoded
from simulator.redis.scripts import Scripts
from simulator.redis.sessions import SESSIONS

if TYPE_CHECKING:
    from simulator.redis.cluster import ClusterMember

COMMANDS: Final = Commands(KEYSPACE, PUBSUB, SESSIONS, ADMINISTRATION)
DATABASES: Final = 16
# What a server without data uses; `maxmemory` below that has it refuse everything that grows.
_EMPTY_BYTES: Final = 1_000_000
_ENTRY_BYTES: Final = 64  # of a key or a field, besides its words
_MICROSECONDS: Final = 1_000_000

_OOM: Final = "OOM command not allowed when used memory > 'maxmemory'."
_READONLY: Final = "READONLY You can't write against a read only replica."
_MASTERDOWN: Final = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
_LOADING: Final = "LOADING Valkey is loading the dataset in memory"
_NOAUTH: Final = "NOAUTH Authentication required."

_SETTINGS: Final = {
    b"client-output-buffer-limit": b"normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    b"maxmemory": b"0",
    b"maxmemory-policy": b"noeviction",
    b"replica-serve-stale-data": b"yes",
}


@dataclass(frozen=True, slots=True)
class BufferLimit:
    """How many bytes may wait for a subscriber: `hard` never, `soft` for so many seconds at most. 0 is no limit."""

    hard: int
    soft: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All data of a server at one moment, as a file on its disk has them."""

    contents: tuple[tuple[dict[bytes, Value], dict[bytes, int]], ...]
    history: bytes  # the id of the history that it is from, if the server had replicas
    offset: int


class Server:
    """A server. `host` and `port` are what it calls itself; connections come in through `connect`."""

    def __init__(
        self,
        clock: Callable[[], float],
        random: Random,
        *,
        host: str = "127.0.0.1",
        port: int = 6379,
        password: str | None = None,
    ) -> None:
        self.clock = clock  # seconds since 1970
        self.random = random
        self.host = host.encode()
        self.port = port
        self.password = None if password is None else password.encode()
        self.settings = dict(_SETTINGS)
        self.alive = True
        self.frozen = False  # SIGSTOP: it takes connections and bytes, and does nothing
        self.loading = False
        self.denied: set[str] = set()  # commands that the user may not run: "info", "client|reply"
        self.cluster: ClusterMember | None = None
        self.connections: dict[ClientConnection, None] = {}
        self.channels = Channels()
        self.processed = self.received = 0
        self._changes: list[Change] = []
        self.databases = [Database(number, self._changes.append) for number in range(DATABASES)]
        self.replication = Replication(self)
        self.pubsub_limit = BufferLimit(0, 0, 0)
        self._full = False
        self._caller: ClientConnection | None = None  # whose script is running
        self._script_wrote = False
        self._script_keys: tuple[bytes, ...] = ()
        self._written: dict[ClientConnection, None] = {}  # connections with output
        self._cut: list[ClientConnection] = []  # connections to be closed at the end of this turn
        self._paused_until = 0.0
        self._paused = self._paused_writes = self._resumed = False
        self._lost_answers: Callable[[list[bytes]], bool] | None = None
        self.configure(self.settings)
        self._start()

    def _start(self) -> None:
        """Begin as a new process."""
        self.run_id = f"{self.random.getrandbits(160):040x}"
        self.now = int(self.clock() * _MICROSECONDS)
        self.started = self.now // _MICROSECONDS
        self.scripts = Scripts(self._execute_for_script)
        self._next_id = 0

    # --- connections

    def connect(
        self,
        send: Callable[[bytes], None],
        close: Callable[[], None],
        address: str = "127.0.0.1:0",
        unsent: Callable[[], int] = lambda: 0,
    ) -> ClientConnection:
        """Accept a connection. See ClientConnection. The server must be alive."""
        if not self.alive:
            raise ConnectionRefusedError
        self._next_id += 1
        self.received += 1
        client = ClientConnection(self, self._next_id, send, close, address, unsent)
        self.connections[client] = None
        return client

    def serve(self, client: ClientConnection) -> None:
        """Carry out what a connection asks for, and send what comes of it to all connections."""
        client.read()
        self._flush()
        if self._resumed:
            self._read_all()

    def forget(self, client: ClientConnection) -> None:
        """Handle the end of a connection."""
        self.connections.pop(client, None)
        self._written.pop(client, None)
        self.channels.leave(client)

    def written(self, client: ClientConnection) -> None:
        """Note that a connection has output."""
        self._written[client] = None

    def cut_off(self, client: ClientConnection) -> None:
        """Close a connection at the end of this turn: it takes what it is sent too slowly."""
        self._cut.append(client)

    def _flush(self) -> None:
        while self._cut or self._written:
            cut, self._cut = self._cut, []
            for client in cut:
                client.abort()
            written, self._written = self._written, {}
            for client in written:
                client.flush()

    def holds(self, client: ClientConnection) -> bool:
        """Return whether a connection has to wait, whatever it asks for."""
        return self.frozen or not self.alive

    def postpones(self, client: ClientConnection, words: list[bytes]) -> bool:
        """Return whether a command has to wait for the end of CLIENT PAUSE."""
        if not self._paused:
            return False
        if self.clock() >= self._paused_until:
            self._paused = False
            return False
        if not self._paused_writes:
            return True
        try:
            command = COMMANDS.find(words)
        except CommandError:
            return False
        return command.write or command.waits_for_writes

    # --- commands

    def execute(self, client: ClientConnection, words: list[bytes]) -> object:
        """Carry out a command of a client, and return its reply. Raises CommandError."""
        self.now = int(self.clock() * _MICROSECONDS)
        client.database.now = self.now // 1000
        self.processed += 1
        asking, client.asking = client.asking, False
        try:
            command = self._command(client, words)
            if self._troubled or self.cluster is not None:
                self._refuse(client, command, words, asking)
            if not client.resp3 and not command.while_subscribed and client.subscribed:
                raise CommandError(
                    f"ERR Can't execute '{command.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
                    "are allowed in this context"
                )
            assert command.run is not None
            return command.run(client, words)
        finally:
            if self._changes:
                self.replication.send(self.take_changes())
            if self._lost_answers is not None and self._lost_answers(words):
                self._lost_answers = None
                client.abort()

    def _command(self, client: ClientConnection, words: list[bytes]) -> Command:
        """Return the command with these words. Raises CommandError."""
        try:
            command = COMMANDS.find(words)
            if not fits(command, words) or command.run is None:
                raise wrong_number(command)
        except CommandError:
            if not client.authenticated and words[0].lower() not in (b"auth", b"hello"):
                raise CommandError(_NOAUTH) from None
            raise
        if not client.authenticated and not command.before_login:
            raise CommandError(_NOAUTH)
        return command

    @property
    def _troubled(self) -> bool:
        """Whether any command may be refused for the state of the server."""
        return self._full or self.loading or bool(self.denied) or self.replication.primary is not None

    def _refuse(self, client: ClientConnection, command: Command, words: list[bytes], asking: bool) -> None:
        """Raise CommandError if the server can't carry out the command now."""
        if command.name in self.denied:
            raise CommandError(f"NOPERM User default has no permissions to run the '{command.name}' command")
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

    def take_changes(self) -> list[Change]:
        """Return the changes of the data since the last call."""
        changes = self._changes.copy()
        self._changes.clear()
        return changes

    # --- scripts

    def run_script(self, client: ClientConnection, sha: bytes, keys: int, words: list[bytes]) -> Encoded:
        """Run a script for a client. Raises CommandError."""
        self._caller, self._script_wrote, self._script_keys = client, False, tuple(words[:keys])
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
            command = COMMANDS.find(words)
        except CommandError as error:
            unknown = "ERR Unknown command called from script" if isinstance(error, UnknownCommand) else error.message
            raise CommandError(unknown) from None
        if not fits(command, words) or command.run is None:
            raise CommandError("ERR Wrong number of args calling command from script")
        if not command.in_scripts:
            raise CommandError("ERR This Valkey command is not allowed from script")
        if self._troubled or self.cluster is not None:
            self._refuse_script(client, command, words)
        reply = command.run(client, words)
        self._script_wrote = self._script_wrote or command.write
        return reply

    def _refuse_script(self, client: ClientConnection, command: Command, words: list[bytes]) -> None:
        if command.name in self.denied:
            why = f"User default has no permissions to run the '{command.name}' command"
            raise CommandError(f"ERR ACL failure in script: {why}")
        if not command.stale and self._stale:
            raise CommandError(_MASTERDOWN)
        if command.write and self.replication.primary is not None:
            raise CommandError(_READONLY)
        if self._full and command.grows and not self._script_wrote:
            raise CommandError(_OOM)
        if self.cluster is not None and command.keys is not None:
            self.cluster.check_script(client, command, command.keys(words), self._script_keys)

    # --- pub/sub

    def publish(self, channel: bytes, message: bytes) -> int:
        """Publish a message, here and wherever else it is heard. Return the number of subscribers here."""
        count = self.channels.publish(channel, message)
        if self.cluster is not None:
            self.cluster.broadcast(channel, message)
        elif self.replication.replicas:
            self._changes.append((PUBLISHED, "publish", (channel, message)))
        return count

    def publish_shard(self, channel: bytes, message: bytes) -> int:
        """Publish a message on a sharded channel, here and at the replicas. Return the number of subscribers here."""
        count = self.channels.publish_shard(channel, message)
        if self.cluster is not None:
            self.cluster.broadcast_shard(channel, message)
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
        self._flush()

    # --- answers

    def information(self, sections: tuple[bytes, ...]) -> bytes:
        """Return the answer to INFO."""
        return information(self, sections)

    def greeting(self) -> dict[object, object]:
        """Return the first fields of the answer to HELLO: who this is."""
        return {b"server": b"valkey", b"version": b"9.1.2"}

    def state(self) -> dict[object, object]:
        """Return its last fields: what this server is now."""
        mode = b"standalone" if self.cluster is None else b"cluster"
        role = b"master" if self.replication.primary is None else b"replica"
        return {b"mode": mode, b"role": role, b"modules": []}

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

    def role_changed(self) -> None:
        """Handle that this server became a primary or a replica."""
        for database in self.databases:
            database.obeys = self.replication.primary is not None

    # --- what happens to a server

    def tick(self) -> None:
        """Do what the server does ten times a second: drop expired keys, end a pause, connect to the primary."""
        if self.frozen or not self.alive:
            return
        self._refresh()
        for database in self.databases:
            database.collect()
        if self._changes:
            self.replication.send(self.take_changes())
        if self._paused and self.clock() >= self._paused_until:
            self.resume()
        self.replication.look()

    def _refresh(self) -> None:
        self.now = int(self.clock() * _MICROSECONDS)
        for database in self.databases:
            database.now = self.now // 1000

    def kill(self) -> None:
        """End the process at once (SIGKILL): all connections are gone, and so are the data, but for a snapshot."""
        self.alive = False
        self.frozen = False
        self.replication.stop()
        for client in list(self.connections):
            client.abort()
        for database in self.databases:
            database.load({}, {})

    def restart(self, snapshot: Snapshot | None = None) -> None:
        """Start a process in the place of the one that ended, with the data of a snapshot or none."""
        assert not self.alive, "it is running"
        self.alive = True
        self.settings = dict(_SETTINGS)
        self._paused = self.loading = False
        self.configure(self.settings)
        if snapshot is None:
            self.replication.begin_anew()
        else:
            for database, contents in zip(self.databases, snapshot.contents, strict=True):
                database.load(*contents)
            self.replication.begin_anew(snapshot.history, snapshot.offset)
        self._start()
        self.replication.look()

    def snapshot(self) -> Snapshot:
        """Return all data, as SAVE writes them to the disk."""
        self._refresh()
        known = self.replication.remembered
        history = (self.replication.id, self.replication.offset) if known else (NO_HISTORY, 0)
        return Snapshot(tuple(database.contents() for database in self.databases), *history)

    def freeze(self) -> None:
        """Stop the process (SIGSTOP). The system goes on taking connections and bytes for it."""
        self.frozen = True

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self.frozen = False
        self._read_all()

    def pause(self, seconds: float, *, writes_only: bool = False) -> None:
        """Hold commands back for a time, or only those that write (CLIENT PAUSE)."""
        self._paused, self._paused_writes = True, writes_only
        self._paused_until = self.clock() + seconds

    def resume(self) -> None:
        """End a pause before its time: the commands that were held back are carried out now."""
        self.end_pause()
        self._read_all()

    def end_pause(self) -> None:
        """End a pause (CLIENT UNPAUSE). What was held back is carried out once this command is."""
        self._paused, self._resumed = False, True

    def set_loading(self, loading: bool) -> None:
        """Have the server answer LOADING to most commands, or end that."""
        self.loading = loading

    def _read_all(self) -> None:
        self._resumed = False
        for client in list(self.connections):
            client.read()
        self._flush()

    def fill_memory(self, full: bool) -> None:
        """Have the server refuse what takes more memory (`-OOM`), or accept it again."""
        self._full = full

    def deny(self, *commands: str) -> None:
        """Take the right to these commands away (ACL): "info", "client|reply". Without any all are allowed again."""
        self.denied = set(commands)

    def evict(self, keys: Iterable[bytes], database: int = 0) -> None:
        """Delete keys, as a server does that needs memory and may evict."""
        self._refresh()
        for key in keys:
            self.databases[database].delete(key)
        if self._changes:
            self.replication.send(self.take_changes())

    def end_connections(
        self, which: Callable[[ClientConnection], bool] = lambda _: True, unless: ClientConnection | None = None
    ) -> int:
        """Close connections (CLIENT KILL) and return their number."""
        ended = [client for client in self.connections if which(client) and client is not unless]
        for client in ended:
            client.abort()
        return len(ended)

    def lose_answer(self, to: Callable[[list[bytes]], bool] = lambda _: True) -> None:
        """Carry out the next command for which `to(words)` is true, and close its connection in place of a reply."""
        self._lost_answers = to
