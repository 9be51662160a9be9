"""What every kind of Redis installation offers to the client: one server, a primary that sentinels name, a cluster."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from pathlib import Path
from typing import Final, Protocol, TypeVar

import anyio
import redis.exceptions

from relay.redis_client.dialing import Connection

# What is shown of a server.
SECTIONS: Final = ("server", "replication", "memory", "clients")
# Refusals that say "this server is the wrong one": another one has its place, or it isn't fit to serve now.
_WRONG: Final = ("READONLY", "MASTERDOWN", "LOADING", "CLUSTERDOWN", "MOVED")
# The same as exceptions, whose words may begin with an address (`refusals`).
_WRONG_KINDS: Final = (
    redis.exceptions.ReadOnlyError,
    redis.exceptions.MasterDownError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ClusterDownError,
)
# How a question may fail: also on a connection that breaks while uvloop sets it up, and by an answer that is none.
ASKING_FAILED: Final = (redis.exceptions.RedisError, OSError, RuntimeError, ValueError)

Place = TypeVar("Place")
View = TypeVar("View")


class WrongServer(redis.exceptions.ConnectionError):
    """What answers at an address isn't a primary that can be used."""


def wrong_server(error: object) -> bool:
    """Whether a reply or an exception says that this server isn't, or isn't any more, the one to be at.

    Whoever gets such an answer should drop its connections to the server and look where the right one is.
    """
    if isinstance(error, (*_WRONG_KINDS, WrongServer)):
        return True
    return isinstance(error, Exception) and str(error).startswith(_WRONG)


class Looks:
    """Looks where things are, one after the other. Whoever comes during one shares that which follows."""

    def __init__(self, look: Callable[[], Awaitable[None]]) -> None:
        self.turn = anyio.Lock()  # for whoever asks for something else at the same places
        self._look = look
        self._begun = self._done = 0
        self._failure: Exception | None = None  # of the last one

    async def next(self) -> None:
        """Return once a look is over that began after this. Raises what the look raises."""
        number = self._begun + 1
        async with self.turn:
            if self._done < number:
                self._begun += 1
                try:
                    await self._look()
                    self._failure = None
                except Exception as error:
                    self._failure = error
                self._done = self._begun
            failure = self._failure
        if failure is not None:
            raise failure


async def ask_all(
    places: Iterable[Place], ask: Callable[[Place], Awaitable[View]], rest: Callable[[int, float], float]
) -> tuple[list[View], list[Exception]]:
    """Ask several servers side by side, and return what they answer and the errors of the others.

    `rest(answers, seconds)`: how much longer the others are waited for, once so many have answered and so much time has
    passed. A server that is frozen by then is in neither list.
    """
    views: list[View] = []
    errors: list[Exception] = []
    began = anyio.current_time()

    async def one(place: Place) -> None:
        try:
            views.append(await ask(place))
        except ASKING_FAILED as error:
            errors.append(error)
            return
        now, scope = anyio.current_time(), tasks.cancel_scope
        scope.deadline = min(scope.deadline, now + rest(len(views), now - began))

    async with anyio.create_task_group() as tasks:
        for place in places:
            tasks.start_soon(one, place)
    return views, errors


class Topology(Protocol):
    """Knows which servers hold the data at that moment, and makes connections to them. Raises exceptions of redis-py's.

    A server that holds data is known by its home: a word that means something to the engine only.
    """

    sharded: bool  # each channel has a home of its own for pub/sub
    unwatched: str  # why a failover wouldn't be noticed; empty if it would
    files: tuple[Path, ...]  # that new connections need: TLS, password
    version: int  # another one when `home` or `homes` may answer differently

    def home(self, name: str) -> str | None:
        """The server that serves a key or channel; None while none does."""

    def homes(self) -> Collection[str]:
        """All servers that hold data."""

    def address(self, home: str) -> str:
        """How a server is called where people read of it."""

    def moved(self, slot: int, home: str) -> None:
        """A server says that a slot is served elsewhere."""

    async def connect(self, home: str) -> Connection:
        """A new connection, set up and idle, to a server. The caller disconnects it."""

    async def look(self) -> None:
        """Find out where things are now. Raises if nobody tells."""

    async def glance(self) -> None:
        """The same while nothing seems to be wrong: with little effort. To be called once a second or so."""

    def doubt(self) -> None:
        """A server said that it is the wrong one (`wrong_server`)."""

    def renew(self) -> None:
        """Read `files` again, whether they look changed or not. Raises ConfigError if one can't be used."""

    def current(self, connection: Connection) -> bool:
        """Whether, as far as is known, this connection still leads to where `connect` would."""

    async def aclose(self) -> None:
        """Close all connections but those from `connect`."""
