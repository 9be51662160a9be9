"""Opening connections: to which addresses, in which order, and how long after one another."""

import os
import random
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from pairchat.address import Address
from pairchat.errors import ConnectionFailed
from pairchat.resolve import addresses, in_turn
from pairchat.trust import explain

# What reading and writing raise once a connection is gone. SSLError: a record that is no TLS, or an alert, after which
# nothing can be read.
BROKEN = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError)

# Seconds until one address, or the lookup of one name, is given up where there are others: above any round trip.
ADDRESS_WAIT = 3.0
# Seconds from one attempt to the next while the former is under way, as RFC 8305 recommends.
STAGGER = 0.25
FIRST_PAUSE = 0.25  # seconds at most before the first try to reconnect; all clients of a node lose it at once
PAUSE = 0.5  # seconds at most before the second; then twice as long each time
LONGEST_PAUSE = 5.0  # seconds: several tries within any sensible grace


Found = TypeVar("Found")


class Place(NamedTuple):
    """Where an address stands among all: first addresses of all servers come before any second one."""

    address: int  # among those of its server
    server: int


class Route:
    """Several servers that are tried side by side, beginning behind the one that was connected to last.

    So a node that took the connection and is no good otherwise is left.
    """

    def __init__(self, servers: Sequence[Address], tls: ssl.SSLContext | None = None) -> None:
        self._servers = servers
        self._tls = tls
        self.secure = tls is not None  # what is said is encrypted
        self.others = len(servers) - 1
        self._last = Place(0, -1)
        self._seed = random.random()  # of the order of each name's addresses
        self.current = servers[0]  # as the user wrote it

    async def open(self, patience: float, *, only: float = ADDRESS_WAIT) -> ByteStream:
        """A connection to the first that answers, within `patience` seconds, `only` of them for each but a single one.

        A host name stands for all its addresses. Raises `ConnectionFailed` in the words of the system.
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
    """One try at all addresses of all servers.

    Each attempt begins `STAGGER` after the one before it, or as soon as that one has failed. A name whose lookup hangs
    holds up nobody else.
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
        self.failure: ConnectionFailed | None = None  # the latest
        self.late: Callable[[], str] = lambda: ""  # what to say of the latest attempt if time runs out
        self._servers, self._tls, self._last, self._seed = servers, tls, last, seed
        self._one_of_many = one_of_many  # seconds for one attempt
        self._untried: dict[Place, str] = {}
        self._lookups = len(servers)  # under way
        self._attempts = 0  # under way
        self._changed = anyio.Event()  # replaced at each change

    async def run(self) -> None:
        """Connect. Returns with `won`, or with `failure`."""
        async with anyio.create_task_group() as tasks:
            for server in range(len(self._servers)):
                tasks.start_soon(self._look_up, server)
            # Most names are known within milliseconds: then their order counts, not which lookup ends first.
            with anyio.move_on_after(STAGGER):
                await self._until(lambda: not self._lookups)
            while (place := await self._next()) is not None:
                self._attempts += 1
                tasks.start_soon(self._attempt, place, self._untried.pop(place))
                with anyio.move_on_after(STAGGER):
                    await self._until(lambda before=self._attempts: self._attempts < before)  # type: ignore[misc]
            tasks.cancel_scope.cancel()

    async def _next(self) -> Place | None:
        """What to try now; None if there is a connection, or nothing left to hope for."""
        await self._until(lambda: bool(self._untried) or not (self._lookups or self._attempts))
        if self.won is not None or not self._untried:
            return None
        return min(self._untried, key=lambda place: (place <= self._last, place))

    async def _until(self, true: Callable[[], bool]) -> None:
        """Wait for this, or for a connection."""
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
        """What this results in; None, and a `failure`, if it fails or takes too long, which `late` says in words."""
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


def pauses(random: random.Random) -> Iterator[float]:
    """Seconds before each try to reconnect: rising, and different for each client, so that they don't come at once."""
    yield random.uniform(0, FIRST_PAUSE)
    pause = PAUSE
    while True:
        yield random.uniform(pause / 2, pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _reason(error: BaseException) -> str:
    """The words of the system, from inside what libraries wrap around them."""
    if isinstance(error, ssl.SSLError):
        return explain(error)
    if isinstance(error, anyio.EndOfStream):
        return "it closes the connection"
    if isinstance(error, BaseExceptionGroup):
        return _reason(error.exceptions[0])
    if error.__cause__ is not None:
        return _reason(error.__cause__)
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)  # asyncio puts words of its own into `strerror`
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
