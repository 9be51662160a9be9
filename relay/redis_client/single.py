"""One Redis server at a fixed address."""

from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import Connection, SSLConnection

from relay.redis_client.dialing import TlsConnection, connected, options


class Server:
    """One server at a fixed address."""

    sharded = False
    version = 0

    @classmethod
    def at(cls, url: str) -> "Server":
        """The server that a URL names."""
        client = Redis.from_url(url, **options())
        pool: Any = client.connection_pool
        if issubclass(pool.connection_class, SSLConnection):
            pool.connection_class = type("_Tls", (TlsConnection,), {"contexts": []})
            with suppress(OSError):  # a file that isn't there: whoever connects says so
                pool.make_connection().ssl_context.get()
        return cls(client)

    def __init__(self, client: Any) -> None:
        self.client = client

    def address(self, home: str) -> str:
        place = self.client.connection_pool.connection_kwargs
        return str(place["path"]) if "path" in place else f"{place.get('host')}:{place.get('port')}"

    def home(self, name: str) -> str | None:
        return ""

    def homes(self) -> tuple[str]:
        return ("",)

    def moved(self, slot: int, home: str) -> None:
        pass

    async def connect(self, home: str) -> Connection:
        return await connected(self.client.connection_pool.make_connection())

    async def look(self) -> None:
        pass

    async def glance(self) -> None:
        await self.look()

    def current(self, connection: Connection) -> bool:
        return True

    async def aclose(self) -> None:
        await self.client.aclose()
