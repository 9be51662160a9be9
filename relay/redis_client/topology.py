"""What every kind of Redis installation offers to the client: one server, a primary that sentinels name, a cluster."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import redis.exceptions

from relay.redis_client.dialing import Connection

# What is shown of a server.
SECTIONS: Final = ("server", "replication", "memory", "clients")
# Refusals that say "this server is the wrong one": another one has its place, or it isn't fit to serve now.
WRONG: Final = ("READONLY", "MASTERDOWN", "LOADING", "CLUSTERDOWN", "MOVED")
_WRONG_KINDS: Final = (
    redis.exceptions.ReadOnlyError,
    redis.exceptions.MasterDownError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.MovedError,
)


class WrongServer(redis.exceptions.ConnectionError):
    """What answers at an address isn't a primary that can be used."""


def wrong_server(error: object) -> bool:
    """Whether a reply or an exception says that this server isn't, or isn't any more, the one to be at.

    Whoever gets such an answer should drop its connections to the server and look where the right one is.
    """
    if isinstance(error, (*_WRONG_KINDS, WrongServer)):
        return True
    return isinstance(error, Exception) and str(error).startswith(WRONG)


class Engine(Protocol):
    """Makes pipelines and connections that lead to where the data is at that moment. Raises what redis-py raises."""

    sharded: bool  # pub/sub; then `connect` takes the home of a channel

    async def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Have commands carried out in one pipeline, without a transaction. Refusals are exceptions among the results.

        Not to be called again before it has ended.
        """

    async def infos(self, section: str) -> list[dict[str, Any]]:
        """A section of INFO, of each server that holds data."""

    async def servers(self) -> dict[str, dict[str, Any]]:
        """What SECTIONS of INFO say, of each server that holds data, by its address."""

    def home(self, name: str) -> str | None:
        """The server that serves a key or channel; None while none does."""

    async def connect(self, home: str) -> Connection:
        """A new connection, set up and idle, to a server for pub/sub. The caller disconnects it."""

    def renew(self) -> None:
        """Read the files that new connections need (TLS, password) again. Raises ConfigError."""

    async def look(self) -> None:
        """Find out where things are now."""

    def current(self, connection: Connection) -> bool:
        """Whether, as far as is known, this connection still leads to where `connect` would."""

    async def aclose(self) -> None:
        """Close all connections but those from `connect`."""
