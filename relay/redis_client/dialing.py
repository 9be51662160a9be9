"""How connections to Redis are made: the options that all of them share, TLS contexts."""

from typing import Any, Final

from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

# A connection that is silent for so long is given up; the rest of a call's time is for another try on a new one.
SOCKET_SECONDS: Final = 0.6


def options(seconds: float = SOCKET_SECONDS) -> dict[str, Any]:
    return {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),  # a command that was sent twice could be carried out twice
        "protocol": 2,
    }


async def connected(connection: Any) -> Connection:
    await connection.connect()
    return connection  # type: ignore[no-any-return]


class TlsConnection(SSLConnection):
    """A connection with the TLS context of the first one to the same server.

    redis-py makes a new one for each, and reads every certificate that the system trusts: 45 ms of processor time in
    which a node does nothing else, and of the time that a connection may take to stand (SOCKET_SECONDS). On a machine
    with little of it none ever stood.
    """

    contexts: list[Any]  # one; of each server

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not self.contexts:
            self.contexts.append(self.ssl_context)
        self.ssl_context = self.contexts[0]
