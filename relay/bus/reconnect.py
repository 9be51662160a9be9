"""What both ends of the bus have in common: a connection to the server of the own inbox, made anew when it is lost."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import anyio
import structlog

from relay.logs import Spell
from relay.redis_client.backoff import RECONNECT_SECONDS, Backoff
from relay.redis_client.client import RedisClient, Unavailable
from relay.redis_client.connection import RespConnection
from relay.redis_client.dialing import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# How often a node makes sure that it isn't at a server whose place another one has taken.
LOOK_SECONDS: Final = 1.0
# A server that owes an answer for so long is frozen, or cut off.
SILENT_SECONDS: Final = 1.2

_Taken = TypeVar("_Taken", bound=RespConnection)

log = structlog.get_logger()


class Ended(NamedTuple):
    """How a connection was: whether it served, if only for a moment, and where it led."""

    served: bool
    address: str


async def keep(session: Callable[[], Awaitable[Ended]], role: str, not_made: Callable[[str], None]) -> None:
    """Run one `session` after the other, for ever. `not_made(error)`: there is none, and why."""
    backoff = Backoff(RECONNECT_SECONDS)
    lost = Spell("bus connection lost")
    failed = Spell("bus connection not made", "bus connection made again")
    while True:
        try:
            served, address = await session()
            failed.over(role=role)
            lost.again(role=role, server=address)
        except Unavailable as error:
            served = False
            not_made(str(error))
            failed.again(role=role, error=str(error))
        await anyio.sleep(backoff.after(well=served))


@asynccontextmanager
async def connected(
    store: RedisClient, inbox: str, take_over: "Callable[[Connection], _Taken]"
) -> "AsyncIterator[_Taken]":
    """A connection to the server that serves this inbox, closed in the end. Raises Unavailable."""
    connection = take_over(await store.connect(store.home(inbox)))
    try:
        yield connection
    finally:
        connection.abort()


async def follow(store: RedisClient, connections: Callable[[], Iterable[RespConnection]]) -> None:
    """Leave a server whose place another one has taken, also where it goes on serving: others aren't there."""
    while True:
        await anyio.sleep(LOOK_SECONDS)
        for connection in connections():
            if not store.current(connection.origin):
                log.warning("another server took this one's place: connecting there")
                connection.abort()
