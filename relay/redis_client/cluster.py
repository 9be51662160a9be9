"""Redis Cluster: several primaries, each with a share of the keys and of the channels.

No single member is trusted. After a failure several members are asked concurrently, and so are the addresses that the
operator gave, with their names looked up again; `slot_map.merged` decides. While nothing is wrong, one member after
another is asked at intervals, as a primary that the others have replaced may go on answering its clients.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio
import redis.exceptions
import structlog

from relay.configuration.redis_url import RedisUrl
from relay.entropy import entropy
from relay.redis_client.dialing import Connection, Dialer, show
from relay.redis_client.pipeline import PipelineConnection
from relay.redis_client.reply_to_dict import text
from relay.redis_client.slot_map import NOTHING, Map, View, address, merged, read, slot_of
from relay.redis_client.topology_interface import TopologyReads, ask_all

# The number of members asked at once, besides the given addresses: more than can be wrong at a time.
ASKED: Final = 8
# After the first answer, the others have the same time again plus this, so that frozen ones aren't waited for.
REST_SECONDS: Final = 0.2

log = structlog.get_logger()


class Cluster:
    """Keeps track of the members of a cluster, and of the slots that each serves."""

    sharded = True
    unwatched = ""

    def __init__(self, url: RedisUrl, password_file: Path | None = None) -> None:
        """Raises ConfigError if a file can't be used."""
        self._dialer = Dialer(url.login, url.tls, password_file=password_file)
        self.files = self._dialer.files
        self._given = [f"{host}:{port}" for host, port in url.hosts]
        self._map = NOTHING
        self.version = 0
        self._lines: dict[str, PipelineConnection] = {}  # connections to the members that were asked for the topology
        self._turn = 0
        self._reads = TopologyReads(self._refresh_once)

    # --- topology

    def home(self, name: str) -> str | None:
        return self._map.homes[slot_of(name.encode())]

    def homes(self) -> frozenset[str]:
        return self._map.primaries

    def moved(self, slot: int, home: str) -> None:
        if self._map.homes[slot] != home:
            self._adopt(self._map.moved(slot, home))

    async def refresh(self) -> None:
        """Ask several members."""
        await self._reads.next()

    async def _refresh_once(self) -> None:
        members = sorted(self._map.members - set(self._given))
        views, errors = await self._ask([*self._given, *entropy.sample(members, min(ASKED, len(members)))])
        found = merged(views)
        if found.primaries:
            self._adopt(found)
        elif not views and errors:
            raise max(errors, key=_telling)
        else:
            raise redis.exceptions.ConnectionError("no server of the cluster serves any slot")

    async def check(self) -> None:
        members = sorted(self._map.members)
        if members:
            self._turn = (self._turn + 1) % len(members)
            views: list[View] = []
            async with self._reads.turn:
                with anyio.move_on_after(REST_SECONDS + self._line(members[self._turn]).latency):
                    views, _ = await self._ask([members[self._turn]])
            if views and merged(views) == self._map:
                return
        await self.refresh()

    def _adopt(self, found: Map) -> None:
        if found == self._map:
            return
        if self._map.primaries and found.primaries != self._map.primaries:
            gone, new = self._map.primaries - found.primaries, found.primaries - self._map.primaries
            log.warning("other servers are primaries of the cluster now", new=sorted(new), gone=sorted(gone))
        self._map = found
        self.version += 1

    # --- asking

    async def _ask(self, places: Sequence[str]) -> tuple[list[View], list[Exception]]:
        """Ask members concurrently. Return their views, and the errors of the others."""
        views, errors = await ask_all(places, self._view, lambda _, seconds: seconds + REST_SECONDS)
        self._drop({*self._lines} - self._map.members)
        return views, errors

    def _line(self, place: str) -> PipelineConnection:
        line = self._lines.get(place)
        if line is None:
            line = self._lines[place] = PipelineConnection(lambda: self.connect(place), lambda _: True)
        return line

    async def _view(self, place: str) -> View:
        rows, lines = await self._line(place).ask([("CLUSTER", "SLOTS"), ("CLUSTER", "NODES")])
        if isinstance(rows, Exception):
            raise rows
        epochs = text(lines) if isinstance(lines, bytes) else ""  # CLUSTER NODES may be refused
        return read(rows, epochs, place, given=place in self._given)

    def _drop(self, places: set[str]) -> None:
        for place in sorted(places):
            self._lines.pop(place).close()

    # --- connections

    def address(self, home: str) -> str:
        return show(*address(home))

    def doubt(self) -> None:
        pass

    def renew(self) -> None:
        self._dialer.renew()

    async def connect(self, home: str) -> Connection:
        return await self._dialer.dial(*address(home))

    def current(self, connection: Connection) -> bool:
        return f"{connection.host}:{connection.port}" in self._map.primaries

    async def aclose(self) -> None:
        self._drop({*self._lines})


def _telling(error: Exception) -> int:
    """Return a sort key: a server's own words tell more than a failed connection."""
    return int(isinstance(error, redis.exceptions.ResponseError | redis.exceptions.AuthenticationError))
