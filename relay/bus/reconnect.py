"""Both ends of the bus have a connection to the server of the node's own inbox, and reconnect after a loss."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import anyio
import structlog

from relay.clock import clock
from relay.logs import Spell
from relay.redis_client.backoff import RECONNECT_SECONDS, Backoff
from relay.redis_client.client import RedisClient, Unavailable
from relay.redis_client.connection import RespConnection
from relay.redis_client.dialing import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# The interval at which a node checks whether another server has taken the place of the one that it is connected to.
CHECK_SECONDS: Final = 1.0
# A server that has owed a reply for this long is frozen or cut off.
SILENT_SECONDS: Final = 1.2

_Taken = TypeVar("_Taken", bound=RespConnection)

log = structlog.get_logger()


class Ended(NamedTuple):
    """The end of a connection: whether it has worked, if only for a moment, and the address of its server."""

    served: bool
    address: str


async def keep(session: Callable[[], Awaitable[Ended]], role: str, not_made: Callable[[str], None]) -> None:
    """Run one `session` after another until cancelled. `not_made(error)` is called for each that couldn't start."""
    backoff = Backoff(RECONNECT_SECONDS)
    lost = Spell("bus connection lost")
    failed = Spell("bus connection not made", "bus connection made again")
    while True:
        began = clock()
        try:
            served, address = await session()
            failed.over(role=role)
            lost.again(role=role, server=address)
        except Unavailable as error:
            served = False
            not_made(str(error))
            failed.again(role=role, error=str(error))
        await anyio.sleep(backoff.after(well=served, lasted=clock() - began))


@asynccontextmanager
async def connected(
    redis_client: RedisClient, inbox: str, take_over: "Callable[[Connection], _Taken]"
) -> "AsyncIterator[_Taken]":
    """Hold a connection to the server of this inbox, and close it at the end. Raises Unavailable."""
    connection = take_over(await redis_client.connect(redis_client.home(inbox)))
    try:
        yield connection
    finally:
        connection.abort()


async def follow(redis_client: RedisClient, connections: Callable[[], Iterable[RespConnection]]) -> None:
    """Close connections to a server whose place another one has taken, even if it still serves: other nodes left it."""
    while True:
        await anyio.sleep(CHECK_SECONDS)
        for connection in connections():
            if not redis_client.current(connection.origin):
                log.warning("another server took this one's place: connecting there")
                connection.abort()
