"""Whether the servers of the directory still know what they knew, looked at all the time and not only when asked.

A server that was flushed, restarted, replaced by its replica, or given a slot remembers nothing that it can be believed
in: for one lease its partitions grant no name. They all begin that time together, within a second of the event, so that
it is over everywhere once it is over, and no name waits because nobody had asked for one like it before.

One script a second runs on each server that holds partitions. All of them are looked at only after that has shown
something.
"""

import secrets
from typing import Final, Protocol

import anyio
import structlog
from msgspec import Struct, field

from relay.clock import clock
from relay.directory.lease import Lease
from relay.redis_client.client import RedisClient, Script, Unavailable
from relay.redis_client.keys import PARTITIONS, Keys
from relay.tasks.batches import in_slices, slices

# A partition's keys end by themselves when nobody has run a node on this prefix for so long.
PARTITION_SECONDS: Final = 7 * 24 * 3600
# Pause between two looks; a third of a lease where that is shorter, so that no stall that made leases lapse is missed.
LOOK_SECONDS: Final = 1.0
# Partitions asked about at once: their answers take some milliseconds of this node's time.
SLICE: Final = 128

_FOUND: Final = Script("found")

log = structlog.get_logger()


class Told(Protocol):
    """Somebody who is told of partitions."""

    def __call__(self, *partitions: int) -> None:
        """Take notice of them."""


class _Shard(Struct):
    """One server, and its share of the partitions."""

    partitions: list[int] = field(default_factory=list)
    doubted: set[int] = field(default_factory=set)  # these may have been forgotten, and have to be asked about
    unsure: float = float("-inf")  # when it was last silent, or another server, or its clock was set
    clock: tuple[float, float] | None = None  # by how much its clock is ahead of ours, at least and at most


class Shards:
    """The servers that hold partitions. `watch` has to run."""

    def __init__(self, store: RedisClient, keys: Keys, lease: Lease) -> None:
        self._store = store
        self._lease = lease
        self._keys = [keys.partition(number) for number in range(PARTITIONS)]
        self._layout: int | None = None  # of the servers when the partitions were last shared out
        self._shards: dict[str | None, _Shard] = {}
        self._ttl = PARTITION_SECONDS * 1000
        self._epochs: dict[int, bytes] = {}  # of partitions, as they were last seen
        self._turn = secrets.randbelow(PARTITIONS)

    # --- what others ask

    def steady(self, key: str) -> bool:
        """Whether the server of a key has served for a full lease, as far as was seen from here.

        Whoever lives could renew a lease there. Only then may one that is missing or over be believed.
        """
        shard = self._shards.get(self._store.home(key))
        return shard is None or clock() - shard.unsure >= self._lease.seconds

    def timed(self, key: str, began: float, time: float) -> None:
        """The server of a key said what time it is, asked since `began`. If its clock was set, it isn't steady."""
        self._timed(self._shards.setdefault(self._store.home(key), _Shard()), began, time)

    def _timed(self, shard: _Shard, began: float, time: float) -> None:
        now, known = clock(), shard.clock
        low, high = shard.clock = time - now, time - began
        if known is not None and (step := max(low - known[1], known[0] - high)) > self._lease.slow:
            log.warning("the clock of redis was set", seconds=round(step if low > known[1] else -step, 1))
            shard.unsure = now

    # --- the watch

    async def watch(self, forgotten: Told, write_back: Told) -> None:
        """For ever: have all partitions of a server that forgot begin anew.

        `forgotten(*partitions)`: this node made them begin, and the others have to hear of it.
        `write_back(*partitions)`: they began, whoever made them.
        """
        pause = min(LOOK_SECONDS, self._lease.seconds / 3)
        while True:
            await self.look(forgotten, write_back)
            await anyio.sleep(pause)

    async def look(self, forgotten: Told, write_back: Told) -> None:
        """Look once at each server, at all of them side by side."""
        await self._share_out()
        async with anyio.create_task_group() as tasks:
            for home, shard in self._shards.items():
                if home is not None and shard.partitions:
                    tasks.start_soon(self._look_at, shard, forgotten, write_back)
        self._turn += 1

    async def _share_out(self) -> None:
        """Find out which server has which partition; those that have moved are doubted."""
        layout = self._store.layout
        if layout == self._layout:
            return
        shards: dict[str | None, _Shard] = {}
        async for number in in_slices(range(PARTITIONS), SLICE):
            shards.setdefault(self._store.home(self._keys[number]), _Shard()).partitions.append(number)
        self._layout = layout
        for home, shard in shards.items():
            old = self._shards.get(home, _Shard())
            shard.doubted = (old.doubted & set(shard.partitions)) | (set(shard.partitions) - set(old.partitions))
            shard.unsure, shard.clock = old.unsure, old.clock
            if self._shards and not old.partitions:
                shard.unsure = clock()
        self._shards = shards

    async def _look_at(self, shard: _Shard, forgotten: Told, write_back: Told) -> None:
        """Look at one partition, another one each time: so those that were evicted are found too, sooner or later."""
        number = shard.partitions[self._turn % len(shard.partitions)]
        began = clock()
        try:
            made, epoch, time = await self._store.script(_FOUND, self._keys[number], 0, self._ttl)
            if clock() - began > self._lease.slow:
                shard.unsure = clock()
            self._timed(shard, began, int(time) / 1e6)
            if self._news(number, made, epoch):
                shard.unsure = clock()
                shard.doubted.update(shard.partitions)
                (forgotten if made else write_back)(number)
            await self._begin(shard, forgotten, write_back)
        except Unavailable:
            shard.unsure = clock()

    def _news(self, number: int, made: int, epoch: bytes) -> bool:
        """Whether a partition was forgotten since the last look at it."""
        known, self._epochs[number] = self._epochs.get(number, epoch), epoch
        return bool(made) or epoch != known

    async def _begin(self, shard: _Shard, forgotten: Told, write_back: Told) -> None:
        """Have those begin anew that were forgotten; some of them others were quicker with."""
        async for numbers in slices(list(shard.doubted), SLICE):
            answers = await self._store.scripts(_FOUND, [self._keys[number] for number in numbers], 0, self._ttl)
            begun: dict[bool, list[int]] = {True: [], False: []}  # by us, or by others
            for number, (made, epoch, _) in zip(numbers, answers, strict=True):
                if self._news(number, made, epoch):
                    begun[bool(made)].append(number)
            for told, some in ((forgotten, begun[True]), (write_back, begun[False])):
                if some:
                    told(*some)
            shard.doubted.difference_update(numbers)
