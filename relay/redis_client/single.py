"""One Redis server at a fixed address."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import Connection, SSLConnection

from relay.redis_client.dialing import SOCKET_SECONDS, TlsConnection, connected, options
from relay.redis_client.pipeline import Line
from relay.redis_client.topology import SECTIONS


class Server:
    """One server at a fixed address."""

    sharded = False

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
        self._line = Line(lambda: self.connect(""), self.current, SOCKET_SECONDS)
        self._forms = dict(client.response_callbacks)  # what redis-py makes of the answers to some commands

    async def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        answers = await self._line.ask(commands)
        return [self._formed(command[0], answer) for command, answer in zip(commands, answers, strict=True)]

    def _formed(self, command: str, answer: Any) -> Any:
        form = self._forms.get(command)
        return answer if form is None or isinstance(answer, Exception) else form(answer)

    async def infos(self, section: str) -> list[dict[str, Any]]:
        return [await self.client.info(section)]

    async def servers(self) -> dict[str, dict[str, Any]]:
        info = await self.client.info(*SECTIONS)
        return {await self._address(): info}

    async def _address(self) -> str:
        place = self.client.connection_pool.connection_kwargs
        return str(place["path"]) if "path" in place else f"{place.get('host')}:{place.get('port')}"

    def home(self, name: str) -> str | None:
        return ""

    async def connect(self, home: str) -> Connection:
        return await connected(self.client.connection_pool.make_connection())

    async def look(self) -> None:
        pass

    def current(self, connection: Connection) -> bool:
        return True

    async def aclose(self) -> None:
        await self._line.aclose()
        await self.client.aclose()
