"""Tells from their leases which other nodes are alive."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

import anyio
from msgspec import Struct

from relay.clock import clock
from relay.directory.data_loss import DataLossWatch
from relay.directory.lease import TAIL_SECONDS, Lease
from relay.redis_client.client import RedisClient, Script, Unavailable
from relay.redis_client.keys import Keys

# The delay of a check after a lease should have lapsed: its lapse is seen at once, and a late renewal isn't missed.
MARGIN_SECONDS: Final = 0.05
# The least pause between two checks, whatever the leases say.
PAUSE_SECONDS: Final = 0.1

# Two replies of Redis about the same renewal differ by less than this, and two renewals by more.
SAME_SECONDS: Final = 0.05

# The largest pause between two checks without a lease, as a part of a lease, after which the lease counts as missing
# all the time.
UNSEEN: Final = 0.5

# The number of promises that each round of the watch checks for removal.
TIDY: Final = 8

_LOOK: Final = Script("look")


class _Missing(Struct):
    """A lease that doesn't exist, with the times of the checks that found that."""

    first: float
    last: float
    asked: float  # time when a caller last asked about it


class _Promise(Struct):
    """The time by which a node has to renew its lease, by our own clock."""

    until: float
    expires: float  # time when Redis drops the key, by Redis' clock; later after each renewal


class NodeLiveness:
    """Watches the nodes that hold a partner of a session here, and those whose lease is missing.

    Redis says once for each renewal how long the lease still runs. Our own clock then measures that time, so it
    doesn't matter if Redis' clock is set.
    """

    def __init__(self, redis_client: RedisClient, keys: Keys, lease: Lease, data_loss: DataLossWatch) -> None:
        self._redis_client = redis_client
        self._keys = keys
        self._lease = lease
        self._data_loss = data_loss
        self._promises: dict[str, _Promise] = {}
        self._missing: dict[str, _Missing] = {}

    async def lapsed(self, node_id: str) -> float | None:
        """Return the seconds since the node's lease lapsed, or None if it is alive or this node can't decide yet.

        Redis may have lost a lease that doesn't exist or comes from another server: its node renews it within a lease,
        or is dead. While `watch` runs it doesn't matter how often this is called. Raises Unavailable.
        """
        if node_id == self._lease.node_id:
            return None
        since = await self._check_lease(node_id)
        if node_id in self._missing:
            self._missing[node_id].asked = clock()
        return since

    async def _check_lease(self, node_id: str) -> float | None:
        now = clock()
        if now < self._alive_until(node_id):
            return None
        key = self._keys.lease(node_id)
        ttl, length, microseconds = await self._redis_client.script(_LOOK, key)
        if clock() - now > self._lease.slow:
            return None  # Redis was stalled: the node had no chance to renew
        time = int(microseconds) / 1e6
        self._data_loss.timed(key, now, time)
        trusted = self._lease.held_long_enough and self._data_loss.steady(key)
        if ttl < 0:
            missing = self._missing.setdefault(node_id, _Missing(now, now, now))
            if now - missing.last > self._lease.seconds * UNSEEN:
                missing.first = now  # it may have existed in between
            missing.last = now
            absent = now - missing.first
            return absent if absent > self._lease.seconds and trusted else None
        self._missing.pop(node_id, None)
        # If Redis' clock was set forward since a lease lapsed, its TTL says that this was long ago.
        left = max(ttl / 1000 - TAIL_SECONDS, self._data_loss.clock_set(key) - now)
        promise = self._promise(node_id, now, time + ttl / 1000, left, length / 1000)
        if now < promise.until:
            return None
        return now - promise.until if trusted else None

    def _promise(self, node_id: str, now: float, expires: float, left: float, length: float) -> _Promise:
        known = self._promises.get(node_id)
        if known is None or abs(known.expires - expires) > SAME_SECONDS:
            known = self._promises[node_id] = _Promise(now + (min(left, length) if length else left), expires)
        return known

    def _alive_until(self, node_id: str) -> float:
        promise = self._promises.get(node_id)
        return promise.until if promise is not None else 0.0

    async def absent(self, node_ids: Sequence[str]) -> set[str]:
        """Return those of these nodes that are known to hold no lease now. This costs less than `lapsed`.

        One check is no proof: Redis may have lost the lease, and its node renews it within a third of a lease.
        """
        began = clock()
        try:
            left = await self._redis_client.calls(("PTTL", self._keys.lease(node_id)) for node_id in node_ids)
        except Unavailable:
            return set()
        if not self._lease.held_long_enough or clock() - began > self._lease.slow:
            return set()  # Redis was stalled: they had no chance to renew
        return {node_id for node_id, ttl in zip(node_ids, left, strict=True) if ttl <= TAIL_SECONDS * 1000}

    def forget(self, node_ids: Iterable[str]) -> None:
        """Forget what is known about these nodes' leases."""
        for node_id in node_ids:
            self._promises.pop(node_id, None)
            self._missing.pop(node_id, None)

    def farewell(self, node_id: str) -> None:
        """Handle the farewell of a node: what was known of its lease no longer counts."""
        self._promises.pop(node_id, None)

    async def watch(
        self,
        partners: Callable[[], set[str]],
        lost: Callable[[str, float], None],
        back: Callable[[str], None],
    ) -> None:
        """Watch the nodes of `partners()` until cancelled, and report each lapsed lease once.

        `lost(node_id, seconds)` gets the time since the lapse. `back(node_id)` reports a node that was only suspended,
        and has taken a lease again.
        """
        reported: set[str] = set()

        async def report(node_id: str) -> None:
            since = await self.lapsed(node_id)
            if since is None:
                if node_id in reported and clock() < self._alive_until(node_id):  # else this node can't decide
                    reported.discard(node_id)
                    back(node_id)
            elif node_id not in reported:
                reported.add(node_id)
                lost(node_id, since)

        while True:
            await anyio.sleep(PAUSE_SECONDS)
            self._tidy()
            await self._check_missing_leases()
            watched = partners()
            now = clock()
            reported &= watched
            await _side_by_side(
                report, [node_id for node_id in sorted(watched) if now >= self._alive_until(node_id) + MARGIN_SECONDS]
            )

    def _tidy(self) -> None:
        """Drop what is known of leases that lapsed long ago, a few in each round. A later call asks Redis again."""
        now = clock()
        for node_id in list(islice(self._promises, TIDY)):
            promise = self._promises.pop(node_id)
            if now < promise.until + TAIL_SECONDS:
                self._promises[node_id] = promise  # moved to the end: the next round checks others

    async def _check_missing_leases(self) -> None:
        """Check the missing leases, so that none exists unnoticed: clients who want a dead user's name ask rarely."""
        now = clock()
        due = []
        for node_id, missing in list(self._missing.items()):
            if now - missing.asked > TAIL_SECONDS:
                del self._missing[node_id]
            elif now - missing.last >= self._lease.seconds * UNSEEN / 2:
                due.append(node_id)
        await _side_by_side(self._check_lease, due)


async def _side_by_side(ask: Callable[[str], Awaitable[object]], node_ids: Sequence[str]) -> None:
    """Ask about these nodes concurrently, so that a silent server delays only the answers about its own leases."""
    if not node_ids:  # nearly always, and a task group costs something
        return

    async def one(node_id: str) -> None:
        with suppress(Unavailable):
            await ask(node_id)

    async with anyio.create_task_group() as tasks:
        for node_id in node_ids:
            tasks.start_soon(one, node_id)
