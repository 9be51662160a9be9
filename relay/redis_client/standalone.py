"""A single Redis server at an address. That may lead to another server later, or be found by a subclass."""

from pathlib import Path
from typing import Any, Final

import redis.exceptions

from relay.clock import clocks
from relay.configuration.redis_url import RedisUrl
from relay.redis_client.dialing import Connection, Dialer, Question, show
from relay.redis_client.reply_to_dict import info, text
from relay.redis_client.topology_interface import WrongServer, wrong_server

# The interval at which a connection is made to check whether the address still leads to the same server. Proxies and
# services that fail over behind one address may keep old connections to a server that has become a replica.
CHECK_SECONDS: Final = 2.0
# The least pause between two rounds of closing all connections, as a wrong server says so with each refusal.
DOUBT_SECONDS: Final = 1.0


def _which(address: str, replies: list[Any]) -> str | None:
    """Return the server's own id, or None if it doesn't tell it. Raises WrongServer if it says it is no primary."""
    about, role = replies
    said = {} if isinstance(about, Exception) else info(about)
    name = text(role[0]) if isinstance(role, list) and role else said.get("role", "master")
    if name != "master":
        raise WrongServer(f"{address} is a replica, not the primary" if name == "slave" else f"{address} is a {name}")
    which = said.get("run_id")
    return None if which is None else str(which)


PRIMARY: Final = Question(("INFO", "server", "replication"), ("ROLE",), judge=_which)


class Server:
    """The server at an address. All connections are replaced once the address leads elsewhere, or to a replica."""

    sharded = False
    version = 0
    unwatched = ""

    def __init__(self, url: RedisUrl, password_file: Path | None = None) -> None:
        """Raises ConfigError if a file can't be used."""
        self._url = url
        self._dialer = Dialer(url.login, url.tls, url.database, password_file)
        self.files = self._dialer.files
        self._which: str | None = None  # the server that the address led to last
        self._trusted_since = 0.0  # older connections lead to a wrong server
        self._refreshed = 0.0

    def home(self, name: str) -> str | None:
        return ""

    def homes(self) -> tuple[str]:
        return ("",)

    def address(self, home: str) -> str:
        return self._url.path or show(*self._url.hosts[0])

    def moved(self, slot: int, home: str) -> None:
        pass

    async def check(self) -> None:
        """Call `refresh` if the last one was long enough ago."""
        if clocks.monotonic() - self._refreshed >= CHECK_SECONDS:
            await self.refresh()

    async def connect(self, home: str) -> Connection:
        try:
            connection = await self._dial()
        except redis.exceptions.RedisError as error:
            if wrong_server(error):
                self.doubt()
            raise
        self._which = connection.greeting
        return connection

    async def _dial(self) -> Connection:
        if self._url.path is not None:
            return await self._dialer.dial_path(self._url.path, PRIMARY)
        return await self._dialer.dial(*self._url.hosts[0], PRIMARY)

    async def refresh(self) -> None:
        """Make a connection to learn which server the address leads to."""
        self._refreshed = clocks.monotonic()
        (await self.connect("")).close()

    def doubt(self) -> None:
        """Handle a server that says it is the wrong one: replace all connections, and check the address soon."""
        now = clocks.monotonic()
        if now - self._trusted_since >= DOUBT_SECONDS:
            self._trusted_since, self._refreshed = now, 0.0

    def current(self, connection: Connection) -> bool:
        same = self._which is None or connection.greeting is None or connection.greeting == self._which
        return same and connection.made >= self._trusted_since

    def renew(self) -> None:
        self._dialer.renew()

    async def aclose(self) -> None:
        pass
