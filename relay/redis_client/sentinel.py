"""The primary that sentinels name."""

from typing import Final

import redis.exceptions
from redis.asyncio import Sentinel
from redis.asyncio.connection import Connection

from relay.config import sentinel_address
from relay.redis_client.dialing import options
from relay.redis_client.single import Server

# A sentinel that doesn't answer within this is passed over: two frozen ones leave time for the third, and its server.
SENTINEL_SECONDS: Final = 0.25


class Sentinels(Server):
    """The primary of a service: sentinels are asked for each new connection, and whenever `look` is called."""

    def __init__(self, url: str) -> None:
        address = sentinel_address(url)
        guards = {"username": address.sentinel_username, "password": address.sentinel_password}
        self._sentinel = Sentinel(  # type: ignore[no-untyped-call]
            address.hosts, sentinel_kwargs={**options(SENTINEL_SECONDS), **guards}, **options()
        )
        super().__init__(
            self._sentinel.master_for(
                address.service, db=address.database, username=address.username, password=address.password
            )
        )

    async def connect(self, home: str) -> Connection:
        """A sentinel may not have heard yet of a failover, and what is published at a replica reaches nobody."""
        connection = await super().connect(home)
        try:
            await connection.send_command("ROLE")
            role = await connection.read_response()
        except redis.exceptions.NoPermissionError:
            return connection
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        if role[0] not in (b"master", "master"):
            await connection.disconnect(nowait=True)
            raise redis.exceptions.ConnectionError(f"{connection.host}:{connection.port} is not the primary")
        return connection

    def address(self, home: str) -> str:
        host, port = self.client.connection_pool.master_address or ("", "")
        return f"{host}:{port}"

    async def look(self) -> None:
        """Where there is a new primary, the pool drops its connections to the old one."""
        await self.client.connection_pool.get_master_address()

    def current(self, connection: Connection) -> bool:
        return bool((connection.host, connection.port) == self.client.connection_pool.master_address)

    async def aclose(self) -> None:
        await super().aclose()
        await self._sentinel.aclose()
