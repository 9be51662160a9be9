"""This module opens connections, and decides the order and the timing of the attempts."""

import os
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import NamedTuple, TypeVar

import anyio
from anyio.abc import ByteStream

from pairchat.address import Server, WebAddress
from pairchat.dns_lookup import addresses, in_turn
from pairchat.entropy import Random, entropy
from pairchat.errors import ConnectionFailed
from pairchat.stream_errors import BROKEN
from pairchat.tls_setup import explain
from pairchat.transport import Stage, Transport

# Seconds for one address, or for the lookup of one name, if there are others. It is longer than any round trip. What
# follows the connection (a proxy, TLS, a WebSocket handshake) has as long again for each answer.
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

    def __init__(self, servers: Sequence[Server], tls: ssl.SSLContext | None = None, proxy: str | None = None) -> None:
        """`tls` and `proxy` are those of `pairchat.connect`. Raises `BadServer` and `BadSettings`."""
        secure = [isinstance(server, WebAddress) and server.secure for server in servers]
        web_tls = ssl.create_default_context() if tls is None and any(secure) else tls
        self._ways = [
            Transport(server, web_tls if safe else tls, proxy) for server, safe in zip(servers, secure, strict=True)
        ]
        self._later: dict[int, float] = {}  # when a server that has no room wants to be asked again, by anyio's clock
        self.others = len(servers) - 1
        self._last = Place(0, -1)
        self._seed = entropy.source.random()  # determines the order of each name's addresses
        self.current = servers[0]  # as the user wrote it

    async def open(self, patience: float, *, only: float = ADDRESS_WAIT) -> ByteStream:
        """Return a connection to the first address that answers within `patience` seconds.

        If there are several addresses, each one has `only` seconds. A host name stands for all its addresses. Raises
        `ConnectionFailed` in the words of the system.
        """
        now = anyio.current_time()
        ready = [server for server in range(len(self._ways)) if self._later.get(server, now) <= now]
        race = _Race(self._ways, ready or range(len(self._ways)), self._last, self._seed, only)
        with anyio.move_on_after(patience):
            await race.run()
        self._later |= race.later
        if race.won is None:
            raise race.failure or ConnectionFailed(race.late())
        self._last, stream = race.won
        self.current = self._ways[self._last.server].server
        return stream

    @property
    def wait(self) -> float:
        """The seconds until a server may be asked. It is 0 unless all of them have sent us away for a while."""
        now = anyio.current_time()
        return max(0.0, min(self._later.get(server, now) for server in range(len(self._ways))) - now)

    @property
    def bare(self) -> bool:
        """True if the present connection is TCP without TLS."""
        return self._ways[self._last.server].bare


class _Race:
    """One race between all addresses of all servers ("happy eyeballs").

    Each attempt begins `STAGGER` seconds after the one before it, or as soon as that one has failed. A name whose
    lookup hangs doesn't delay the others.
    """

    def __init__(
        self,
        ways: Sequence[Transport],
        ready: Collection[int],  # the servers that take part
        last: Place,
        seed: float,
        one_of_many: float,
    ) -> None:
        self.won: tuple[Place, ByteStream] | None = None
        self.failure: ConnectionFailed | None = None  # the latest failure
        self.late: Callable[[], str] = lambda: ""  # returns the error message for a time-out of the latest attempt
        self.later: dict[int, float] = {}  # see `Route`
        self._ways, self._ready, self._last, self._seed = ways, ready, last, seed
        self._one_of_many = one_of_many  # seconds for one attempt
        self._untried: dict[Place, str] = {}
        self._lookups = len(ready)  # lookups under way
        self._attempts = 0  # attempts under way
        self._changed = anyio.Event()  # replaced at each change

    async def run(self) -> None:
        """Run the race. Sets `won`, or `failure`."""
        async with anyio.create_task_group() as tasks:
            for server in self._ready:
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
        way = self._ways[index]
        limit = self._one_of_many if len(self._ready) > 1 else None
        stage = Stage(way.peer, f"can't connect to {way.peer}: no name server answers")
        found = await self._within(limit, stage, lambda _: addresses(way.host))
        ordered = enumerate(in_turn(found or [], self._seed))
        self._untried |= {Place(number, index): address for number, address in ordered}
        self._lookups -= 1
        self._change()

    async def _attempt(self, place: Place, address: str) -> None:
        way = self._ways[place.server]
        others = self._lookups or self._untried or self._attempts > 1

        async def connect(begin: Callable[[Stage], None]) -> ByteStream:
            try:
                return await way.open(address, begin)
            except ConnectionFailed as error:
                self.later[place.server] = anyio.current_time() + error.retry_after
                raise

        stream = await self._within(self._one_of_many if others else None, way.first, connect)
        if stream is not None and self.won is not None:
            await anyio.aclose_forcefully(stream)
        elif stream is not None:
            self.won = place, stream
        self._attempts -= 1
        self._change()

    async def _within(
        self, seconds: float | None, stage: Stage, do: Callable[[Callable[[Stage], None]], Awaitable[Found]]
    ) -> Found | None:
        """Return the result of `do`. If it fails or times out, set `failure` and return None.

        `do` begins with this stage. It calls its argument with each further one, which has as many seconds again.
        """

        def begin(next_stage: Stage) -> None:
            nonlocal stage
            stage = next_stage
            if seconds is not None:
                scope.deadline = anyio.current_time() + seconds

        self.late = lambda: stage.late
        try:
            with anyio.fail_after(seconds) as scope:
                return await do(begin)
        except TimeoutError:
            self.failure = ConnectionFailed(stage.late)
        except ConnectionFailed as error:
            self.failure = error
        except (OSError, *BROKEN) as error:
            self.failure = ConnectionFailed(f"can't connect to {stage.peer}: {_reason(error, stage.plain)}")
        return None


def pauses(random: Random) -> Iterator[float]:
    """Yield the seconds to wait before each reconnect: exponential back-off with jitter, so that clients spread out."""
    yield random.uniform(0, FIRST_PAUSE)
    pause = PAUSE
    while True:
        yield random.uniform(pause / 2, pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _reason(error: BaseException, plain: str) -> str:
    """Return the system's words for an error, unwrapped from the exceptions of libraries.

    `plain` says how to do without TLS.
    """
    if isinstance(error, ssl.SSLError):
        return explain(error, plain=plain)
    if isinstance(error, anyio.EndOfStream):
        return "it closes the connection"
    if error.__cause__ is not None:
        return _reason(error.__cause__, plain)
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)  # asyncio puts its own words into `strerror`
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
