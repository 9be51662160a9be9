"""Makes every connection to Redis: look-up, a race of addresses, TLS, AUTH, SELECT, and one error if it fails.

Only the exceptions are those of redis-py. Its connections look up one address only, read the trusted certificates once
or for each connection, take a round trip for each step of the set-up, and don't say which address failed.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import hiredis
import redis.exceptions

from relay.clock import clocks
from relay.configuration.config import show_server
from relay.configuration.redis_url import Login, Tls
from relay.net.outgoing_sockets import outgoing_sockets
from relay.net.tls_error_words import tls_error_words
from relay.redis_client.dns_lookup import Lookup, Place
from relay.redis_client.error_replies import refusal
from relay.redis_client.login_and_tls import LoginAndTls
from relay.redis_client.round_trip_timeout import RoundTripTimeout

# The delay until the next address of a name is tried too (RFC 8305), unless the one before fails earlier.
STAGGER_SECONDS: Final = 0.25
# The time after which all addresses are under way, however many there are.
ALL_SECONDS: Final = 1.5
# The round trips of a TLS handshake: one with TLS 1.3, two with 1.2.
_TLS_ROUND_TRIPS: Final = 2
_READ_BYTES: Final = 65_536
# The maximum number of servers whose round-trip times are remembered. It is far more than any installation has, and
# bounds what a cluster may announce.
SERVERS: Final = 1024

Command = tuple[str | bytes | int, ...]
# hiredis' own annotation only allows tuples of one element.
pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]


class Connection:
    """A connection to one server, set up and idle. A caller that takes it over uses its streams directly."""

    __slots__ = ("_parser", "address", "greeting", "host", "made", "port", "reader", "round_trip", "writer")

    def __init__(
        self,
        host: str,
        port: int,
        address: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        round_trip: RoundTripTimeout,
    ) -> None:
        self.host = host  # as the caller gave it; the path of a Unix socket
        self.port = port
        self.address = address  # for logs, with the resolved address
        self.reader = reader
        self.writer = writer
        self.round_trip = round_trip
        self.made = clocks.monotonic()
        self.greeting: Any = None  # the result of the question of its set-up
        self._parser = hiredis.Reader()

    async def ask(self, *commands: Command) -> list[Any]:
        """Send commands and return their replies in order, with exceptions for refusals.

        Don't call it once the connection was taken over. Raises ConnectionError and TimeoutError of redis-py with
        the address; then the connection is closed.
        """
        began, patience = clocks.monotonic(), self.round_trip.patience
        replies: list[Any] = []
        try:
            with anyio.fail_after(patience):
                self.writer.write(b"".join(map(pack, commands)))
                while len(replies) < len(commands):
                    replies.append(await self._reply())
        except TimeoutError:
            self.round_trip.missed()
            self.close()
            raise redis.exceptions.TimeoutError(f"{self.address}: no answer within {patience:.1f} s") from None
        except (OSError, RuntimeError, EOFError, hiredis.ProtocolError) as error:
            self.close()
            said = next((reply for reply in replies if isinstance(reply, Exception)), None)
            if said is not None:  # the reason why the server hung up
                raise said from None
            raise redis.exceptions.ConnectionError(f"{self.address}: {_words(error)}") from None
        except BaseException:
            self.close()
            raise
        self.round_trip.took(clocks.monotonic() - began)
        return replies

    async def _reply(self) -> Any:
        while (reply := self._parser.gets()) is False:
            data = await self.reader.read(_READ_BYTES)
            if not data:
                raise EOFError
            self._parser.feed(data)
        return refusal(str(reply), self.address) if isinstance(reply, hiredis.ReplyError) else reply

    def close(self) -> None:
        """Close without waiting for the server."""
        self.writer.transport.abort()


class Question:
    """Commands that are sent in the round trip of a connection's set-up, and a check of their replies.

    `judge(address, replies)` returns the connection's `greeting`. It raises an exception of redis-py if this isn't the
    wanted server; then other addresses of the same name are tried.
    """

    __slots__ = ("commands", "judge")

    def __init__(self, *commands: Command, judge: Callable[[str, list[Any]], Any]) -> None:
        self.commands = commands
        self.judge = judge


class Dialer:
    """Makes connections to the servers of one installation. All of them share credentials, TLS and database."""

    def __init__(
        self,
        login: Login,
        tls: Tls | None = None,
        database: int = 0,
        password_file: Path | None = None,
        told_by: str = "--redis-password-file",
    ) -> None:
        """`told_by` is the option that names the password file. Raises ConfigError if a file can't be used."""
        self._credentials = LoginAndTls(login, tls, password_file, told_by)
        self._database = database
        self._lookup = Lookup()
        # Round trips of connects and of replies differ: a proxy may be near, and the server behind it far.
        self._round_trips: dict[tuple[str, int], tuple[RoundTripTimeout, RoundTripTimeout]] = {}

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that new connections need."""
        return self._credentials.files

    def renew(self) -> None:
        """Read these files again, whether or not they look changed. Raises ConfigError if one can't be used."""
        self._credentials.renew()

    async def dial(self, host: str, port: int, question: Question | None = None) -> Connection:
        """Make a connection, set up and idle. Raises exceptions of redis-py with the address and the server's words."""
        await self._credentials.refresh()
        address = show(host, port)
        try:
            places = await self._lookup.places(host, port)
        except TimeoutError as error:
            raise redis.exceptions.TimeoutError(f"{address}: {error}") from None
        except (OSError, UnicodeError) as error:
            raise redis.exceptions.ConnectionError(f"{address}: {_words(error)}") from None
        place, connection = await self._race(host, port, places, question)
        self._lookup.prefer(host, port, place)
        return connection

    async def dial_path(self, path: str, question: Question | None = None) -> Connection:
        """Make a connection over a Unix socket, as `dial` does."""
        await self._credentials.refresh()
        return await self._attempt(path, 0, Place(socket.AF_UNIX, path), question)

    async def _race(
        self, host: str, port: int, places: Sequence[Place], question: Question | None
    ) -> tuple[Place, Connection]:
        """Try one address after another, without ending the earlier tries, until one of them serves."""
        won: list[tuple[Place, Connection]] = []
        errors: list[Exception] = []

        async def run(place: Place, over: anyio.Event) -> None:
            try:
                connection = await self._attempt(host, port, place, question)
            except redis.exceptions.RedisError as error:
                errors.append(error)
                over.set()
                return
            if won:
                connection.close()
            else:
                won.append((place, connection))
                tasks.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as tasks:
                for place in places:
                    over = anyio.Event()
                    tasks.start_soon(run, place, over)
                    with anyio.move_on_after(min(STAGGER_SECONDS, ALL_SECONDS / len(places))):
                        await over.wait()
        except BaseException:
            for _, connection in won:
                connection.close()
            raise
        if not won:
            raise _worst(errors)
        return won[0]

    async def _attempt(self, host: str, port: int, place: Place, question: Question | None) -> Connection:
        connecting, answering = self._timing(host, port)
        address = show(host, port, place)
        loop, began, waiting = asyncio.get_running_loop(), clocks.monotonic(), connecting
        patience = connecting.patience
        sock = outgoing_sockets.stream(place.family)
        try:
            with anyio.fail_after(patience):
                await loop.sock_connect(sock, place.address)
            connecting.took(clocks.monotonic() - began)
            waiting, patience = answering, answering.patience * _TLS_ROUND_TRIPS
            with anyio.fail_after(patience):
                reader, writer = await self._streams(sock, host)
        except TimeoutError:
            sock.close()
            waiting.missed()
            raise redis.exceptions.TimeoutError(f"{address}: no connection within {patience:.1f} s") from None
        except (OSError, RuntimeError, EOFError) as error:
            sock.close()
            raise redis.exceptions.ConnectionError(f"{address}: {_words(error)}") from None
        except BaseException:
            sock.close()
            raise
        connection = Connection(host, port, address, reader=reader, writer=writer, round_trip=answering)
        try:
            await self._set_up(connection, question)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _streams(self, sock: socket.socket, host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = self._credentials.context
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            return await asyncio.open_connection(sock=sock)
        return await asyncio.open_connection(sock=sock, ssl=context, server_hostname=host)

    async def _set_up(self, connection: Connection, question: Question | None) -> None:
        """Send AUTH, SELECT, PING and the question in one round trip. PING shows whether the server can serve."""
        login, commands = self._credentials.login, list[Command]()
        if login.password is not None:
            commands.append(("AUTH", *filter(None, (login.username,)), login.password))
        if self._database:
            commands.append(("SELECT", self._database))
        own = len(commands)
        commands += [("PING",), *(question.commands if question is not None else ())]
        replies = await connection.ask(*commands)
        for command, reply in zip(commands[: own + 1], replies, strict=False):
            if isinstance(reply, redis.exceptions.NoPermissionError):
                if command[0] == "PING":
                    continue
                raise redis.exceptions.ResponseError(str(reply))
            if isinstance(reply, Exception):
                raise reply
        if question is not None:
            connection.greeting = question.judge(connection.address, replies[own + 1 :])

    def _timing(self, host: str, port: int) -> tuple[RoundTripTimeout, RoundTripTimeout]:
        if len(self._round_trips) >= SERVERS:
            self._round_trips.clear()
        return self._round_trips.setdefault((host, port), (RoundTripTimeout(), RoundTripTimeout()))


def show(host: str, port: int, place: Place | None = None) -> str:
    """Return an address for logs: `redis:6379`, or `redis:6379 (10.0.0.1)` for a name with its address."""
    if not port:
        return host
    named = show_server((host, port))
    if place is None or place.family == socket.AF_UNIX or place.address[0] == host:
        return named
    return f"{named} ({place.address[0]})"


def _worst(errors: Sequence[Exception]) -> Exception:
    """Return one error for all addresses of a name. That of a server that answered tells more than a time-out."""
    answered = [error for error in errors if not isinstance(error, redis.exceptions.TimeoutError)]
    first = next((one for one in answered if type(one) is not redis.exceptions.ConnectionError), None)
    if first is not None or len(errors) == 1:
        return first or errors[0]
    kind = redis.exceptions.ConnectionError if answered else redis.exceptions.TimeoutError
    return kind("; ".join(dict.fromkeys(map(str, errors))))


def _words(error: Exception) -> str:
    """Return the reason of a failed connection, for logs."""
    match error:
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "RECORD_LAYER_FAILURE" | "PACKET_LENGTH_TOO_LONG"):
            return "it doesn't speak TLS"
        case ssl.SSLError():
            return tls_error_words(error)
        case socket.gaierror():
            return f"no address for this name: {(error.strerror or str(error)).lower()}"
        case OSError(errno=int(number)) if number > 0:  # asyncio replaces the system's words by its own
            return os.strerror(number).lower()
        case hiredis.ProtocolError():
            return "what it says isn't the protocol of Redis"
        case EOFError() | RuntimeError():
            return "it closed the connection without an answer"
    return str(error) or type(error).__name__
