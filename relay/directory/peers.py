"""The liveness of other nodes, by their leases."""

from collections.abc import Callable, Iterable
from typing import Final

import anyio

from relay.directory.keys import Keys
from relay.directory.lease import TAIL_SECONDS, Lease, clock
from relay.directory.store import Script, Store, Unavailable

# How long after a lease should have lapsed it is looked at: its lapse is seen at once, a late renewal isn't missed.
MARGIN_SECONDS: Final = 0.05
# Looks follow one another by at least this, whatever leases say.
PAUSE_SECONDS: Final = 0.1

_LOOK: Final = Script("look")


class Peers:
    """Watches the nodes that hold a partner of someone here."""

    def __init__(self, store: Store, keys: Keys, lease: Lease) -> None:
        self._store = store
        self._keys = keys
        self._lease = lease
        self._alive_until: dict[str, float] = {}
        self._missing: dict[str, tuple[float, float]] = {}  # the first and the last look that found no lease

    async def lapsed(self, uid: str) -> float | None:
        """Seconds since the node's lease lapsed; None if it lives, or if that can't be told from here yet.

        A lease that isn't there at all, or comes from another server, may have been forgotten: its node puts it back
        within a lease, or is dead. Raises Unavailable.
        """
        if uid == self._lease.uid:
            return None
        now = clock()
        if now < self._alive_until.get(uid, 0.0):
            return None
        ttl = await self._store.script(_LOOK, self._keys.lease(uid))
        if clock() - now > self._lease.slow:
            return None  # Redis stood still: the node had no chance to renew
        if ttl < 0:
            first, last = self._missing.get(uid, (now, now))
            first = now if now - last > self._lease.seconds / 2 else first  # it may have been there in between
            self._missing[uid] = (first, now)
            return now - first if now - first > self._lease.seconds and self._lease.settled else None
        self._missing.pop(uid, None)
        left = ttl / 1000 - TAIL_SECONDS
        if left > 0:
            self._alive_until[uid] = now + left
            return None
        return -left if self._lease.settled else None

    def dead(self, uid: str) -> None:
        """The node itself says that it is going: don't count on what was known of its lease."""
        self._alive_until.pop(uid, None)

    async def watch(
        self,
        partners: Callable[[], Iterable[str]],
        lost: Callable[[str, float], None],
        back: Callable[[str], None],
    ) -> None:
        """For ever: report each node of `partners()` whose lease has lapsed, once, with the seconds since then.

        One that had only slept, and has taken a lease again, is reported as `back`.
        """
        reported: set[str] = set()
        while True:
            await anyio.sleep(PAUSE_SECONDS)
            now, watched = clock(), set(partners())
            reported &= watched
            for uid in watched:
                if now < self._alive_until.get(uid, 0.0) + MARGIN_SECONDS:
                    continue
                try:
                    since = await self.lapsed(uid)
                except Unavailable:
                    break
                if since is None:
                    if uid in reported:
                        reported.discard(uid)
                        back(uid)
                elif uid not in reported:
                    reported.add(uid)
                    lost(uid, since)
