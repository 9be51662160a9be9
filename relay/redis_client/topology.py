"""What every kind of Redis installation offers to the client: one server, a primary that sentinels name, a cluster."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

from redis.asyncio.connection import Connection

# What is shown of a server.
SECTIONS: Final = ("server", "replication", "memory", "clients")


class Engine(Protocol):
    """Makes pipelines and connections that lead to where the data is at that moment. Raises what redis-py raises."""

    client: Any
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

    async def look(self) -> None:
        """Find out where things are now."""

    def current(self, connection: Connection) -> bool:
        """Whether, as far as is known, this connection still leads to where `connect` would."""

    async def aclose(self) -> None:
        """Close all connections but those from `connect`."""
