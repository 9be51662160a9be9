"""A process that speaks RESP: its connections, the way of a command through it, and what can happen to all of them.

A server and a sentinel are endpoints with different commands. Neither does I/O or has a clock of its own. The network
hands over bytes (`connect`, `ClientConnection.feed`), and the harness calls `tick` ten times a second. Time is what
`clock` says: the wall clock of the machine, which may be set.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from simulator.redis.commands import Command, Commands, fits, wrong_number
from simulator.redis.connection import ClientConnection
from simulator.redis.pubsub import Channels
from simulator.redis.replies import CommandError

if TYPE_CHECKING:
    from simulator.redis.database import Database

_MICROSECONDS: Final = 1_000_000
_NOAUTH: Final = "NOAUTH Authentication required."


@dataclass(frozen=True, slots=True)
class BufferLimit:
    """How many bytes may wait for a subscriber: `hard` never, `soft` for so many seconds at most. 0 is no limit."""

    hard: int
    soft: int
    seconds: int


class Endpoint:
    """A process at an address. `host` and `port` are what it calls itself; connections come in through `connect`."""

    commands: Commands
    databases: "list[Database]"  # by their numbers

    def __init__(
        self, clock: Callable[[], float], random: Random, *, host: str, port: int, password: str | None
    ) -> None:
        self.clock = clock  # seconds since 1970
        self.random = random
        self.host = host.encode()
        self.port = port
        self.password = None if password is None else password.encode()
        self.alive = True
        self.frozen = False  # SIGSTOP: it takes connections and bytes, and does nothing
        self.denied: set[str] = set()  # commands that the user may not run: "info", "client|reply"
        self.connections: dict[ClientConnection, None] = {}
        self.channels = Channels()
        self.pubsub_limit = BufferLimit(0, 0, 0)
        self.processed = self.received = 0  # commands, and connections
        self._written: dict[ClientConnection, None] = {}  # connections with output
        self._cut: list[ClientConnection] = []  # connections to be closed at the end of this turn
        self._paused_until = 0.0
        self._paused = self._paused_writes = self._resumed = False
        self._lost_answers: Callable[[list[bytes]], bool] | None = None
        self.begin()

    def begin(self) -> None:
        """Begin as a new process."""
        self.run_id = f"{self.random.getrandbits(160):040x}"
        self.now = int(self.clock() * _MICROSECONDS)  # the time of the current command, in microseconds
        self.started = self.now // _MICROSECONDS
        self._next_id = 0
        self._paused = False

    # --- connections

    def connect(
        self,
        send: Callable[[bytes], None],
        close: Callable[[], None],
        address: str = "127.0.0.1:0",
        unsent: Callable[[], int] = lambda: 0,
    ) -> ClientConnection:
        """Accept a connection. See ClientConnection. Raises ConnectionRefusedError if the process isn't there."""
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
        self.flush()
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

    def flush(self) -> None:
        """End a turn: hand all output over to the network, and close the connections that are cut off."""
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
            command = self.commands.find(words)
        except CommandError:
            return False
        return command.write or command.waits_for_writes

    def _read_all(self) -> None:
        """Carry out what was held back."""
        self._resumed = False
        for client in list(self.connections):
            client.read()
        self.flush()

    # --- commands

    def execute(self, client: ClientConnection, words: list[bytes]) -> object:
        """Carry out a command of a client, and return its reply. Raises CommandError."""
        self.now = int(self.clock() * _MICROSECONDS)
        self.processed += 1
        asking, client.asking = client.asking, False
        try:
            command = self._command(client, words)
            self.prepare(client, command, words, asking)
            if not client.resp3 and not command.while_subscribed and client.subscribed:
                raise CommandError(
                    f"ERR Can't execute '{command.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
                    "are allowed in this context"
                )
            assert command.run is not None
            return command.run(client, words)
        finally:
            self.finish()
            if self._lost_answers is not None and self._lost_answers(words):
                self._lost_answers = None
                client.abort()

    def _command(self, client: ClientConnection, words: list[bytes]) -> Command:
        """Return the command with these words. Raises CommandError."""
        try:
            command = self.commands.find(words)
            if not fits(command, words) or command.run is None:
                raise wrong_number(command)
        except CommandError:
            if not client.authenticated and words[0].lower() not in (b"auth", b"hello"):
                raise CommandError(_NOAUTH) from None
            raise
        if not client.authenticated and not command.before_login:
            raise CommandError(_NOAUTH)
        return command

    def prepare(self, client: ClientConnection, command: Command, words: list[bytes], asking: bool) -> None:
        """Get ready for a command. Raises CommandError if it can't be carried out now."""
        if command.name in self.denied:
            raise CommandError(f"NOPERM User default has no permissions to run the '{command.name}' command")

    def finish(self) -> None:
        """Draw the consequences of a command, refused ones included."""

    def publish(self, channel: bytes, message: bytes) -> int:
        """Publish a message. Return the number of its subscribers here."""
        return self.channels.publish(channel, message)

    def publish_shard(self, channel: bytes, message: bytes) -> int:
        """Publish a message on a sharded channel. Return the number of its subscribers here."""
        return self.channels.publish_shard(channel, message)

    # --- answers

    def information(self, sections: tuple[bytes, ...]) -> bytes:
        """Return the answer to INFO."""
        raise NotImplementedError

    def role(self) -> list[object]:
        """Return the answer to ROLE."""
        raise NotImplementedError

    def state(self) -> dict[object, object]:
        """Return the last fields of the answer to HELLO: what this process is now."""
        raise NotImplementedError

    # --- what happens to a process

    def tick(self) -> None:
        """Do what is done ten times a second. Call this whether the process is there or not."""
        if self._paused and not self.frozen and self.clock() >= self._paused_until:
            self.resume()

    def kill(self) -> None:
        """End the process at once (SIGKILL): all connections are gone."""
        self.alive = False
        self.frozen = False
        for client in list(self.connections):
            client.abort()

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

    def deny(self, *commands: str) -> None:
        """Take the right to these commands away (ACL): "info", "client|reply". Without any all are allowed again."""
        self.denied = set(commands)

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
