"""Writes a node's status reports. Only `relay status` depends on them, so one that can't be written is skipped."""

from collections.abc import Callable
from typing import Final

import anyio
import structlog

from relay.clock import clocks
from relay.configuration.config import Config
from relay.hub.hub import Hub
from relay.metrics import Counts
from relay.observe.duplicate_node_name import DuplicateNodeName
from relay.observe.status_report import VERSION, Report, decode, encode
from relay.redis_client.client import RedisClient, Unavailable
from relay.redis_client.keys import Keys

REPORT_SECONDS: Final = 2.0
# The lifetime of the key with all reports, after the last one. The last report of a dead node is kept as long as its
# lapsed lease. Then another node deletes it.
KEPT_SECONDS: Final = 3600.0
# What PTTL answers for a key that doesn't exist.
NO_KEY: Final = -2
# The lifetime of the key with the node id of the last node of this name, which is a few reports.
PLACE_SECONDS: Final = 10.0
# A node looks for old reports of dead nodes each time it has written this many of its own.
TIDY_EVERY: Final = 60
# The number of reports that one HSCAN asks for.
COUNT: Final = 100

log = structlog.get_logger()


class StatusPublisher:
    """Reports this node's state while it serves. `trouble` returns why no new clients should come, or ""."""

    def __init__(
        self, config: Config, node_id: str, redis_client: RedisClient, keys: Keys, hub: Hub, trouble: Callable[[], str]
    ) -> None:
        self._config = config
        self._node_id = node_id
        self._redis_client = redis_client
        self._keys, self._key, self._place = keys, keys.nodes, keys.called(config.name)
        self._namesake = DuplicateNodeName(config.name, node_id)
        self._hub = hub
        self._trouble = trouble
        self._began = self._last = clocks.monotonic()
        self._ended = False
        self._counted = (0, 0)  # messages received and delivered until the previous report

    async def run(self) -> None:
        """Report every `REPORT_SECONDS` until `withdraw`, and from time to time delete reports of dead nodes."""
        number = 0
        while not self._ended:
            try:
                await self._write(self._report())
                if number % TIDY_EVERY == 0:
                    await self._tidy()
            except Unavailable as error:
                log.debug("report left out", error=str(error))
            number += 1
            await anyio.sleep(REPORT_SECONDS)

    def _report(self) -> Report:
        hub, counts = self._hub, self._hub.counts
        now = clocks.monotonic()
        received, delivered = self._rates(counts, now - self._last)
        self._last = now
        return Report(
            name=self._config.name,
            version=VERSION,
            at=round(clocks.wall(), 3),
            up=round(now - self._began, 1),
            lease=self._config.lease,
            trouble=self._trouble(),
            connections=len(hub.clients),
            users=len(hub.sessions),
            chatting=hub.partner_node_counts.chatting,
            received=received,
            delivered=delivered,
            unconfirmed=sum(counts.unconfirmed.values()),
            memory=hub.memory_budget.used,
        )

    def _rates(self, counts: Counts, seconds: float) -> tuple[float, float]:
        before, self._counted = self._counted, (counts.accepted, counts.delivered)
        if seconds <= 0:
            return 0.0, 0.0
        received, delivered = (round((new - old) / seconds, 1) for new, old in zip(self._counted, before, strict=True))
        return received, delivered

    async def _write(self, report: Report) -> None:
        *_, found = await self._redis_client.calls(
            (
                ("HSET", self._key, self._node_id, encode(report)),
                ("PEXPIRE", self._key, round(KEPT_SECONDS * 1000)),
                ("SET", self._place, self._node_id, "GET", "PX", round(PLACE_SECONDS * 1000)),
            )
        )
        self._namesake.found((found or b"").decode(errors="backslashreplace"))

    async def _tidy(self) -> None:
        """Delete what is no report, and the reports of nodes whose lapsed lease is gone too.

        The time in a report doesn't show its age, because it is that of another machine's clock.
        """
        reports = await read(self._redis_client, self._key)
        leases = await self._redis_client.each(("PTTL", self._keys.lease(node_id)) for node_id in reports)
        old = [
            node_id
            for (node_id, report), ttl in zip(reports.items(), leases, strict=True)
            if report is None or ttl == NO_KEY
        ]
        if old:
            await self._redis_client.call("HDEL", self._key, *old)

    async def withdraw(self) -> None:
        """Stop reporting and delete this node's report, because the node ends. Raises Unavailable."""
        self._ended = True
        await self._redis_client.call("HDEL", self._key, self._node_id)


async def read(redis_client: RedisClient, key: str) -> dict[str, Report | None]:
    """Return all reports by node id, with None for data that isn't a report. Raises Unavailable."""
    found: dict[str, Report | None] = {}
    cursor = 0
    while True:
        cursor, fields = await redis_client.call("HSCAN", key, cursor, "COUNT", COUNT)
        for node_id, raw in fields.items():
            found[node_id.decode(errors="backslashreplace")] = decode(raw)
        if not int(cursor):
            return found
