"""This module opens connections, and decides the order and the timing of the attempts."""

import os
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from pairchat.address import Address
from pairchat.dns_lookup import addresses, in_turn
from pairchat.entropy import Random, entropy
from pairchat.errors import ConnectionFailed
from pairchat.tls_setup import explain

# The errors that reading and writing raise once a connection is gone. SSLError stands for a record that is no TLS, or
# an alert, after which nothing can be read.
BROKEN = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError)

# Seconds for one address, or for the lookup of one name, if there are others. It is longer than any round trip.
ADDRESS_WAIT = 3.0
# Seconds between the starts of two attempts while the earlier one is under way, as RFC 8305 recommends.
STAGGER = 0.25
FIRST_PAUSE = 0.25  # seconds at most before the first reconnect; all clients of a node lose it at the same time
PAUSE = 0.5  # seconds at most before the second attempt; this doubles with each further one
LONGEST_PAUSE = 5.0  # seconds; it allows several attempts within any sensible grace


Found = TypeVar("Found")


class Place(NamedTuple):
    """The position of an address in the order of attempts: each server's first address comes before any second one."""

    address: int  # its index among the addresses of its server
    server: int


class Route:
    """Several servers that are tried side by side, beginning after the last one that accepted a connection.

    Thus the client leaves a node that accepts connections but can't serve.
    """

    def __init__(self, servers: Sequence[Address], tls: ssl.SSLContext | None = None) -> None:
        self._servers = servers
        self._tls = tls
        self.secure = tls is not None  # True if the connection is encrypted
        self.others = len(servers) - 1
        self._last = Place(0, -1)
        self._seed = entropy.source.random()  # determines the order of each name's addresses
        self.current = servers[0]  # as the user wrote it

    async def open(self, patience: float, *, only: float = ADDRESS_WAIT) -> ByteStream:
        """Return a connection to the first address that answers within `patience` seconds.

        If there are several addresses, each one has `only` seconds. A host name stands for all its addresses. Raises
        `ConnectionFailed` in the words of the system.
        """
        race = _Race(self._servers, self._tls, self._last, self._seed, only)
        with anyio.move_on_after(patience):
            await race.run()
        if race.won is None:
            raise race.failure or ConnectionFailed(race.late())
        self._last, stream = race.won
        self.current = self._servers[self._last.server]
        return stream


class _Race:
    """One race between all addresses of all servers ("happy eyeballs").

    Each attempt begins `STAGGER` seconds after the one before it, or as soon as that one has failed. A name whose
    lookup hangs doesn't delay the others.
    """

    def __init__(
        self,
        servers: Sequence[Address],
        tls: ssl.SSLContext | None,
        last: Place,
        seed: float,
        one_of_many: float,
    ) -> None:
        self.won: tuple[Place, ByteStream] | None = None
        self.failure: ConnectionFailed | None = None  # the latest failure
        self.late: Callable[[], str] = lambda: ""  # returns the error message for a time-out of the latest attempt
        self._servers, self._tls, self._last, self._seed = servers, tls, last, seed
        self._one_of_many = one_of_many  # seconds for one attempt
        self._untried: dict[Place, str] = {}
        self._lookups = len(servers)  # lookups under way
        self._attempts = 0  # attempts under way
        self._changed = anyio.Event()  # replaced at each change

    async def run(self) -> None:
        """Run the race. Sets `won`, or `failure`."""
        async with anyio.create_task_group() as tasks:
            for server in range(len(self._servers)):
                tasks.start_soon(self._look_up, server)
            # Most lookups end within milliseconds. Waiting for them keeps the order independent of which ends first.
            with anyio.move_on_after(STAGGER):
                await self._until(lambda: not self._lookups)
            while (place := await self._next()) is not None:
                self._attempts += 1
                tasks.start_soon(self._attempt, place, self._untried.pop(place))
                with anyio.move_on_after(STAGGER):
                    await self._until(lambda before=self._attempts: self._attempts < before)  # type: ignore[misc]
            tasks.cancel_scope.cancel()

    async def _next(self) -> Place | None:
        """Return the next address to try, or None if there is a connection or no address is left."""
        await self._until(lambda: bool(self._untried) or not (self._lookups or self._attempts))
        if self.won is not None or not self._untried:
            return None
        return min(self._untried, key=lambda place: (place <= self._last, place))

    async def _until(self, true: Callable[[], bool]) -> None:
        """Wait until `true` returns True or there is a connection."""
        while not true() and self.won is None:
            await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _look_up(self, index: int) -> None:
        server = self._servers[index]
        limit = self._one_of_many if len(self._servers) > 1 else None
        late = f"can't connect to {server}: no name server answers"
        found = await self._within(limit, server, lambda: addresses(server.host), lambda: late)
        ordered = enumerate(in_turn(found or [], self._seed))
        self._untried |= {Place(number, index): address for number, address in ordered}
        self._lookups -= 1
        self._change()

    async def _attempt(self, place: Place, address: str) -> None:
        server = self._servers[place.server]
        others = self._lookups or self._untried or self._attempts > 1
        limit, late = self._one_of_many if others else None, f"{server} does not answer"

        async def connect() -> ByteStream:
            nonlocal late
            stream = await anyio.connect_tcp(address, server.port)
            if self._tls is None:
                return stream
            late = f"{server} does not answer in TLS; does it speak it there (--tls)?"
            return await _wrap(stream, server, self._tls)

        stream = await self._within(limit, server, connect, lambda: late)
        if stream is not None and self.won is not None:
            await anyio.aclose_forcefully(stream)
        elif stream is not None:
            self.won = place, stream
        self._attempts -= 1
        self._change()

    async def _within(
        self, seconds: float | None, server: Address, do: Callable[[], Awaitable[Found]], late: Callable[[], str]
    ) -> Found | None:
        """Return the result of `do`. If it fails or times out, set `failure` and return None.

        `late` returns the message for a time-out.
        """
        self.late = late
        try:
            with anyio.fail_after(seconds):
                return await do()
        except TimeoutError:
            self.failure = ConnectionFailed(late())
        except (OSError, *BROKEN) as error:
            self.failure = ConnectionFailed(f"can't connect to {server}: {_reason(error)}")
        return None


async def _wrap(stream: ByteStream, server: Address, tls: ssl.SSLContext) -> ByteStream:
    try:
        return await TLSStream.wrap(stream, hostname=server.host, ssl_context=tls, standard_compatible=False)
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


def pauses(random: Random) -> Iterator[float]:
    """Yield the seconds to wait before each reconnect: exponential back-off with jitter, so that clients spread out."""
    yield random.uniform(0, FIRST_PAUSE)
    pause = PAUSE
    while True:
        yield random.uniform(pause / 2, pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _reason(error: BaseException) -> str:
    """Return the system's words for an error, unwrapped from the exceptions of libraries."""
    if isinstance(error, ssl.SSLError):
        return explain(error)
    if isinstance(error, anyio.EndOfStream):
        return "it closes the connection"
    if isinstance(error, BaseExceptionGroup):
        return _reason(error.exceptions[0])
    if error.__cause__ is not None:
        return _reason(error.__cause__)
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)  # asyncio puts its own words into `strerror`
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
