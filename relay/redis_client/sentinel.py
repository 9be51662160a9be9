"""The primary that sentinels name."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import redis.exceptions

from relay.clock import clocks
from relay.configuration.redis_url import MAX_PORT, Address, RedisUrl
from relay.logs import Spell
from relay.redis_client.dialing import Command, Connection, Dialer, show
from relay.redis_client.reply_to_dict import pairs, text
from relay.redis_client.standalone import PRIMARY, Server
from relay.redis_client.topology_interface import TopologyReads, ask_all

# The maximum number of sentinels that are learnt from others. An installation has three or five.
LEARNED: Final = 32
# How much longer the others have after an answer, and after those of most: frozen ones aren't waited for.
FEW_SECONDS: Final = 0.25
MOST_SECONDS: Final = 0.1
SHOWN: Final = 3  # the number of sentinels' errors in one line
_HOST_CHARACTERS: Final = 253  # the longest name of DNS


class _View(NamedTuple):
    """The answers of one sentinel."""

    primary: Address
    epoch: int  # the config epoch, which rises with each failover
    others: dict[Address, str]  # the other sentinels, with their ids


class Sentinels(Server):
    """The primary of a service. The sentinels are asked for each new connection and at each call of `refresh`.

    All sentinels in the URL are asked concurrently, and the latest configuration counts. If none of them answers, those
    that they announced are asked, as long as they have the same ids. If no sentinel answers at all, the last known
    primary is used.
    """

    def __init__(self, url: RedisUrl, password_file: Path | None = None) -> None:
        """Raises ConfigError where a file can't be used."""
        super().__init__(url, password_file)
        self._guards = Dialer(
            url.sentinel_login,
            url.sentinel_tls,
            password_file=url.sentinel_password_file,
            told_by="--redis: sentinel_password_file",
        )
        self.files = tuple(dict.fromkeys((*self.files, *self._guards.files)))
        self._primary: Address | None = None
        self._lines: dict[Address, Connection] = {}
        self._learned: dict[Address, str] = {}
        self._reads = TopologyReads(self._ask_all)
        self.unwatched = ""
        self._silence = Spell("no sentinel answers: a failover won't be noticed", "sentinels answer again")

    async def _dial(self) -> Connection:
        await self._reads.next()
        assert self._primary is not None
        return await self._dialer.dial(*self._primary, PRIMARY)

    def address(self, home: str) -> str:
        return show(*(self._primary or self._url.hosts[0]))

    async def refresh(self) -> None:
        """Ask the sentinels."""
        self._refreshed = clocks.monotonic()
        await self._reads.next()

    def current(self, connection: Connection) -> bool:
        return (connection.host, connection.port) == self._primary and super().current(connection)

    def renew(self) -> None:
        super().renew()
        self._guards.renew()

    # --- sentinels

    async def _ask_all(self) -> None:
        views, errors = await self._ask(dict.fromkeys(self._url.hosts, ""))
        if not views and self._learned:
            views, more = await self._ask(self._learned)
            errors += more
        if views:
            self.unwatched = ""
            self._silence.over()
            self._primary = _latest(views)
            told = {address: name for view in views for address, name in view.others.items()}
            strangers = {address: name for address, name in told.items() if address not in self._url.hosts}
            self._learned = dict(list(strangers.items())[:LEARNED])
            return
        self.unwatched = f"no sentinel answers: {_summary(errors)}"
        self._silence.again(error=_summary(errors))
        if self._primary is None:
            raise _telling(errors)

    async def _ask(self, guards: dict[Address, str]) -> tuple[list[_View], list[Exception]]:
        """Ask these sentinels concurrently. Return their views, and the errors of the others."""

        def rest(answers: int, _seconds: float) -> float:
            return MOST_SECONDS if 2 * answers > len(guards) else FEW_SECONDS

        return await ask_all(guards.items(), self._view, rest)

    async def _view(self, guard: tuple[Address, str]) -> _View:
        """Ask one sentinel. Its id must be the given one, unless that is empty."""
        (address, name), service = guard, self._url.service
        at, about, others, own = await self._replies(
            address,
            ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service),
            ("SENTINEL", "MASTER", service),
            ("SENTINEL", "SENTINELS", service),
            ("SENTINEL", "MYID"),
        )
        if isinstance(at, Exception):
            raise at
        if name and not isinstance(own, Exception) and text(own) != name:
            raise redis.exceptions.ConnectionError(f"{show(*address)} is another sentinel now")
        primary = _address(*at) if isinstance(at, list) and len(at) == 2 else None
        if primary is None:
            raise redis.exceptions.ConnectionError(f"{show(*address)} knows no service {service!r}")
        epoch = text(pairs(about).get(b"config-epoch", b"")) if isinstance(about, list) else ""
        number = int(epoch) if epoch.isascii() and epoch.isdecimal() else 0
        return _View(primary, number, dict(_others(others)))

    async def _replies(self, address: Address, *commands: Command) -> list[Any]:
        """Return a sentinel's replies. Reuse the last connection if it still works."""
        connection = self._lines.pop(address, None)
        if connection is not None:
            with suppress(redis.exceptions.ConnectionError):  # it may have been restarted since
                replies = await connection.ask(*commands)
                self._lines[address] = connection
                return replies
        connection = await self._guards.dial(*address)
        replies = await connection.ask(*commands)
        self._lines[address] = connection
        return replies

    async def aclose(self) -> None:
        await super().aclose()
        for connection in self._lines.values():
            connection.close()
        self._lines.clear()


def _latest(views: list[_View]) -> Address:
    """Return the primary of the latest configuration; of several, the one that most sentinels name."""
    epoch = max(view.epoch for view in views)
    return Counter(view.primary for view in views if view.epoch == epoch).most_common(1)[0][0]


def _others(rows: Any) -> Iterable[tuple[Address, str]]:
    """Return the other sentinels that one announces, without entries that can't be a sentinel."""
    for row in rows if isinstance(rows, list) else ():
        fields = pairs(row) if isinstance(row, list) else {}
        address = _address(fields.get(b"ip"), fields.get(b"port"))
        name = text(fields.get(b"runid", b""))
        if address is not None and name:
            yield address, name


def _address(host: Any, port: Any) -> Address | None:
    """Return an address from a server's reply, or None if it can't be one."""
    host, port = text(host or b""), text(port or b"")
    fits = 0 < len(host) <= _HOST_CHARACTERS and host.isprintable() and not set(host) & set(" @/,")
    if not fits or not (port.isascii() and port.isdecimal() and 0 < int(port) <= MAX_PORT):
        return None
    return host, int(port)


def _telling(errors: list[Exception]) -> Exception:
    """Return one error for all sentinels: an authentication error if there is one, else a summary."""
    said = next((one for one in errors if isinstance(one, redis.exceptions.AuthenticationError)), None)
    return said or redis.exceptions.ConnectionError(f"no sentinel tells where the primary is: {_summary(errors)}")


def _summary(errors: list[Exception]) -> str:
    """Return the distinct errors in one line."""
    words = list(dict.fromkeys(map(str, errors)))
    more = f"; and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return "; ".join(words[:SHOWN]) + more
