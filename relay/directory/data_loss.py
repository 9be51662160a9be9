"""Each node checks all the time whether the servers of the directory have lost data, and not only at a claim.

A server that was flushed, restarted, replaced by its replica or given a slot can't be trusted: its partitions grant no
name for one lease. That time begins for all of them together, within a second of the event. It therefore also ends
everywhere at once, and no name waits longer because its partition wasn't used before.

One script a second runs on each server that holds partitions. All partitions of a server are checked only if that
script has shown a loss.
"""

from typing import Final, Protocol

import anyio
import structlog
from msgspec import Struct, field

from relay.clock import clock
from relay.directory.lease import Lease
from relay.entropy import entropy
from relay.redis_client.client import RedisClient, Script, Unavailable
from relay.redis_client.keys import Keys
from relay.tasks.batches import in_slices, slices

# The TTL of a partition's key, if no node has run on this prefix meanwhile.
PARTITION_SECONDS: Final = 7 * 24 * 3600
# The pause between two checks, or a third of a lease if that is shorter: a stall that made leases lapse isn't missed.
CHECK_SECONDS: Final = 1.0
# The number of partitions in one batch: their replies take some milliseconds of this node's time.
SLICE: Final = 128

_FOUND: Final = Script("found")

log = structlog.get_logger()


class Told(Protocol):
    """A callback for partitions."""

    def __call__(self, *partitions: int) -> None:
        """Handle these partitions."""


class _Shard(Struct):
    """A server and its share of the partitions."""

    partitions: list[int] = field(default_factory=list)
    doubted: set[int] = field(default_factory=set)  # those that may have lost data, and have to be checked
    unsure: float = float("-inf")  # time when it was last silent, another server or with a clock that was set
    clock: tuple[float, float] | None = None  # seconds by which its clock is ahead of ours, at least and at most
    clock_set: float = float("-inf")  # time when that was last seen to change


class DataLossWatch:
    """The servers that hold partitions. `watch` must be running."""

    def __init__(self, redis_client: RedisClient, keys: Keys, lease: Lease) -> None:
        self._redis_client = redis_client
        self._lease = lease
        self._keys = [keys.partition(number) for number in range(keys.partitions)]
        self._layout: int | None = None  # the client's layout when the partitions were last assigned to servers
        self._shards: dict[str | None, _Shard] = {}
        self._ttl = PARTITION_SECONDS * 1000
        self._epochs: dict[int, bytes] = {}  # by partition, as they were last read
        self._turn = entropy.below(keys.partitions)

    # --- queries

    def steady(self, key: str) -> bool:
        """Return whether the server of a key has served without a known break for a full lease.

        Then every live node could renew its lease there. Only then does a missing or lapsed lease prove anything.
        """
        shard = self._shards.get(self._redis_client.home(key))
        return shard is None or clock() - shard.unsure >= self._lease.seconds

    def clock_set(self, key: str) -> float:
        """Return when the clock of the key's server was last seen to be set. What it says of times before is wrong."""
        shard = self._shards.get(self._redis_client.home(key))
        return float("-inf") if shard is None else shard.clock_set

    def timed(self, key: str, began: float, time: float) -> None:
        """Note a server's time from a call begun at `began`. A server whose clock was set isn't steady.

        `key` selects the server, and `time` is in seconds.
        """
        self._timed(self._shards.setdefault(self._redis_client.home(key), _Shard()), began, time)

    def _timed(self, shard: _Shard, began: float, time: float) -> None:
        now, known = clock(), shard.clock
        low, high = shard.clock = time - now, time - began
        if known is not None and (step := max(low - known[1], known[0] - high)) > self._lease.slow:
            log.warning("the clock of redis was set", seconds=round(step if low > known[1] else -step, 1))
            shard.unsure = shard.clock_set = now

    # --- the watch

    async def watch(self, partitions_lost: Told, write_back: Told) -> None:
        """Check the servers until cancelled, and give all partitions of a server that lost data a new epoch.

        `partitions_lost(*partitions)` is called for those with an epoch made by this node, which has to tell others.
        `write_back(*partitions)` is called for those with a new epoch made by another node.
        """
        pause = min(CHECK_SECONDS, self._lease.seconds / 3)
        while True:
            await self.check_servers(partitions_lost, write_back)
            await anyio.sleep(pause)

    async def check_servers(self, partitions_lost: Told, write_back: Told) -> None:
        """Check each server once, all of them concurrently."""
        await self._share_out()
        async with anyio.create_task_group() as tasks:
            for home, shard in self._shards.items():
                if home is not None and shard.partitions:
                    tasks.start_soon(self._check_server, shard, partitions_lost, write_back)
        self._turn += 1

    async def _share_out(self) -> None:
        """Assign the partitions to their servers. Those that have moved may have lost data."""
        layout = self._redis_client.layout
        if layout == self._layout:
            return
        shards: dict[str | None, _Shard] = {}
        async for number in in_slices(range(len(self._keys)), SLICE):
            shards.setdefault(self._redis_client.home(self._keys[number]), _Shard()).partitions.append(number)
        self._layout = layout
        for home, shard in shards.items():
            old = self._shards.get(home, _Shard())
            shard.doubted = (old.doubted & set(shard.partitions)) | (set(shard.partitions) - set(old.partitions))
            shard.unsure, shard.clock, shard.clock_set = old.unsure, old.clock, old.clock_set
            if self._shards and not old.partitions:
                shard.unsure = clock()
        self._shards = shards

    async def _check_server(self, shard: _Shard, partitions_lost: Told, write_back: Told) -> None:
        """Check one partition, another one each time, so that evicted ones are found too, sooner or later."""
        number = shard.partitions[self._turn % len(shard.partitions)]
        began = clock()
        try:
            made, epoch, time = await self._redis_client.script(_FOUND, self._keys[number], 0, self._ttl)
            if clock() - began > self._lease.slow:
                shard.unsure = clock()
            self._timed(shard, began, int(time) / 1e6)
            if self._news(number, made, epoch):
                shard.unsure = clock()
                shard.doubted.update(shard.partitions)
                (partitions_lost if made else write_back)(number)
            await self._begin(shard, partitions_lost, write_back)
        except Unavailable:
            shard.unsure = clock()

    def _news(self, number: int, made: int, epoch: bytes) -> bool:
        """Return whether a partition has lost its data since the last check."""
        known, self._epochs[number] = self._epochs.get(number, epoch), epoch
        return bool(made) or epoch != known

    async def _begin(self, shard: _Shard, partitions_lost: Told, write_back: Told) -> None:
        """Make a new epoch for each doubted partition without one. Another node may have been quicker with some."""
        async for numbers in slices(list(shard.doubted), SLICE):
            answers = await self._redis_client.scripts(_FOUND, [self._keys[number] for number in numbers], 0, self._ttl)
            begun: dict[bool, list[int]] = {True: [], False: []}  # True: by this node, False: by another one
            for number, (made, epoch, _) in zip(numbers, answers, strict=True):
                if self._news(number, made, epoch):
                    begun[bool(made)].append(number)
            for told, some in ((partitions_lost, begun[True]), (write_back, begun[False])):
                if some:
                    told(*some)
            shard.doubted.difference_update(numbers)
