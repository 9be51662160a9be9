"""The interface of all kinds of Redis installations: a single server, a primary named by sentinels, and a cluster."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from pathlib import Path
from typing import Final, Protocol, TypeVar

import anyio
import redis.exceptions

from relay.redis_client.dialing import Connection

# The sections of INFO that are shown of a server.
SECTIONS: Final = ("server", "replication", "memory", "clients")
# Refusals of a server that isn't the right one: another one has taken its place, or it can't serve now.
_WRONG: Final = ("READONLY", "MASTERDOWN", "LOADING", "CLUSTERDOWN", "MOVED")
# The same as exceptions, whose words may begin with an address (`error_replies`).
_WRONG_KINDS: Final = (
    redis.exceptions.ReadOnlyError,
    redis.exceptions.MasterDownError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ClusterDownError,
)
# The errors of a request, those of a connection that breaks while uvloop sets it up and of a malformed reply included.
ASKING_FAILED: Final = (redis.exceptions.RedisError, OSError, RuntimeError, ValueError)

Place = TypeVar("Place")
View = TypeVar("View")


class WrongServer(redis.exceptions.ConnectionError):
    """The server at an address isn't a usable primary."""


def wrong_server(error: object) -> bool:
    """Return whether a reply or an exception shows that this server isn't, or no longer is, the right one.

    The caller should then drop its connections to the server and read the topology again.
    """
    if isinstance(error, (*_WRONG_KINDS, WrongServer)):
        return True
    return isinstance(error, Exception) and str(error).startswith(_WRONG)


class TopologyReads:
    """Runs reads of the topology one after another. Calls during one of them share the next one."""

    def __init__(self, read: Callable[[], Awaitable[None]]) -> None:
        self.turn = anyio.Lock()  # also held by callers that ask the same servers for something else
        self._read = read
        self._begun = self._done = 0
        self._failure: Exception | None = None  # the failure of the last read

    async def next(self) -> None:
        """Wait for a read that begins after this call. Raises its errors."""
        number = self._begun + 1
        async with self.turn:
            if self._done < number:
                self._begun += 1
                try:
                    await self._read()
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
    """Ask several servers concurrently. Return the answers, and the errors of those that failed.

    `rest(answers, seconds)` returns how many seconds the other servers still have, after this number of answers and
    this time. A server that hasn't answered by then is in neither list.
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
    """Knows which servers hold the data now, and makes connections to them. Raises exceptions of redis-py.

    A server that holds data is identified by its home, a string that only the topology can interpret.
    """

    sharded: bool  # whether each channel has a home of its own for pub/sub
    unwatched: str  # the reason why a failover wouldn't be noticed; empty if it would
    files: tuple[Path, ...]  # those that new connections need: TLS, password
    version: int  # changes when `home` or `homes` may return something else

    def home(self, name: str) -> str | None:
        """Return the server of a key or channel; None while there is none."""

    def homes(self) -> Collection[str]:
        """Return all servers that hold data."""

    def address(self, home: str) -> str:
        """Return the address of a server for logs."""

    def moved(self, slot: int, home: str) -> None:
        """Note a redirection: another server serves the slot."""

    async def connect(self, home: str) -> Connection:
        """Make a connection to a server, set up and idle. The caller closes it."""

    async def refresh(self) -> None:
        """Read the topology now. Raises if no server answers."""

    async def check(self) -> None:
        """Check the topology at little cost while nothing seems to be wrong. Call this about once a second."""

    def doubt(self) -> None:
        """Handle the refusal of a server that isn't the right one (`wrong_server`)."""

    def renew(self) -> None:
        """Read `files` again, whether or not they look changed. Raises ConfigError if one can't be used."""

    def current(self, connection: Connection) -> bool:
        """Return whether this connection is believed to lead to the same server as a new one."""

    async def aclose(self) -> None:
        """Close all connections except those from `connect`."""
