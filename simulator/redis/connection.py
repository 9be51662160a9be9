"""One client's connection: it reads commands, has the server carry them out, and writes the replies."""

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from simulator.redis.pubsub import Kind
from simulator.redis.replies import CommandError, encode, encode_error, encode_push
from simulator.redis.requests import ProtocolError, RequestParser

if TYPE_CHECKING:
    from simulator.redis.database import Database
    from simulator.redis.endpoint import Endpoint


class Mode(Enum):
    """Which replies a client wants (CLIENT REPLY). What is pushed comes in any case."""

    ON = "on"
    OFF = "off"
    SKIP_NEXT = "skip next"  # CLIENT REPLY SKIP was this command
    SKIP = "skip"


class ClientConnection:
    """A connection as the server sees it.

    The network calls `feed` with the bytes that have come and `lost` once the connection is gone. What the server
    writes leaves with `send`; after `close` nothing more does. `unsent()` returns how many of these bytes are still
    waiting for the client to take them: that is what the limits of output buffers look at.
    """

    def __init__(
        self,
        server: "Endpoint",
        number: int,
        send: Callable[[bytes], None],
        close: Callable[[], None],
        address: str,
        unsent: Callable[[], int],
    ) -> None:
        self.server = server
        self.number = number  # CLIENT ID
        self.address = address
        self.name = b""
        self.authenticated = server.password is None
        self.asking = False  # the next command may be about a slot that is being imported (ASKING)
        self.reads_replica = False  # READONLY
        self.mode = Mode.ON
        self.resp3 = False
        self.subscriptions: dict[Kind, dict[bytes, None]] = {kind: {} for kind in Kind}
        self.over = False
        self.closing = False  # once its output has left
        self._send = send
        self._close = close
        self._unsent = unsent
        self._parser = RequestParser()
        self._database = 0
        self._output: list[bytes] = []
        self._size = 0  # of the output
        self._executing = False
        self._delivered: list[bytes] = []  # messages that the command under way published to this connection itself
        self._swollen: float | None = None  # since when the output is above the soft limit

    # --- the network

    def feed(self, data: bytes) -> None:
        """Take bytes from the client."""
        if not self.over:
            self._parser.feed(data)
            self.server.serve(self)

    def lost(self) -> None:
        """Handle the end of the connection: the client, or the way to it, is gone."""
        if not self.over:
            self.over = True
            self.server.forget(self)

    def abort(self) -> None:
        """Close the connection at once. What hasn't left is lost."""
        if not self.over:
            self._output.clear()
            self._size = 0
            self.lost()
            self._close()

    # --- commands

    @property
    def database(self) -> "Database":
        """The database that this connection has selected."""
        return self.server.databases[self._database]

    def select(self, number: int) -> None:
        """Use another database."""
        self._database = number

    @property
    def subscribed(self) -> bool:
        """Whether this connection has any subscription."""
        return any(self.subscriptions.values())

    def read(self) -> None:
        """Carry out the commands that are complete, until the server holds this connection back."""
        while not self.over and not self.closing and not self.server.holds(self):
            try:
                words = self._parser.next()
            except ProtocolError as error:
                self._write(encode_error(b"ERR Protocol error: " + str(error).encode("latin-1")))
                self.closing = True
                return
            if words is None:
                return
            if self.server.postpones(self, words):
                self._parser.put_back(words)
                return
            self._execute(words)

    def _execute(self, words: list[bytes]) -> None:
        self._executing = True
        try:
            reply = self.server.execute(self, words)
            answer = encode(reply, self.resp3)
        except CommandError as error:
            answer = encode_error(error.message)
        self._executing = False
        mode = self.mode
        if answer and mode is Mode.ON:
            self._write(answer)
        elif mode is not Mode.OFF:
            self.mode = Mode.SKIP if mode is Mode.SKIP_NEXT else Mode.ON
        if self._delivered:
            for message in self._delivered:
                self._write(message)
            self._delivered.clear()

    def reset(self) -> None:
        """Be as a new connection (RESET)."""
        self.server.channels.leave(self)
        self.name = b""
        self.authenticated = self.server.password is None
        self.asking = self.reads_replica = self.resp3 = False
        self.mode = Mode.ON
        self._database = 0

    # --- output

    def push(self, parts: list[object]) -> None:
        """Write something that is no reply to a command."""
        self._write(encode_push(parts, self.resp3))

    def deliver(self, parts: list[object]) -> None:
        """Write a message to a subscriber, which is cut off if it takes its messages too slowly."""
        message = encode_push(parts, self.resp3)
        if self._executing:
            self._delivered.append(message)
        else:
            self._write(message)
        self._limit()

    def _write(self, data: bytes) -> None:
        if not self.over:
            self._output.append(data)
            self._size += len(data)
            self.server.written(self)

    def flush(self) -> None:
        """Hand the output over to the network."""
        if self._output:
            data = b"".join(self._output)
            self._output.clear()
            self._size = 0
            self._send(data)
        if self.closing and not self.over:
            self.lost()
            self._close()

    def _limit(self) -> None:
        """Cut a subscriber off whose output is above the hard limit, or has been above the soft one for too long."""
        limit = self.server.pubsub_limit
        size = self._size + self._unsent()
        if limit.hard and size >= limit.hard:
            self.server.cut_off(self)
        elif limit.soft and size >= limit.soft:
            now = self.server.clock()
            self._swollen = now if self._swollen is None else self._swollen
            if now - self._swollen > limit.seconds:
                self.server.cut_off(self)
        else:
            self._swollen = None
