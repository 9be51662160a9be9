"""The liveness of this node: one lease, renewed every third of it, for all its users together."""

from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import structlog

from relay.clock import CLOCK_ID, clock, read_clock
from relay.logs import Spell
from relay.metrics import Counts
from relay.redis_client.client import RedisClient, Script, Unavailable
from relay.redis_client.keys import Keys

# The key of a lapsed lease is kept for so long: by its TTL others see since when it has lapsed. No grace is longer.
TAIL_SECONDS: Final = 3600.0
# Pause after a renewal that didn't get through.
RETRY_SECONDS: Final = 0.2
# The part of a lease that a renewal may take. Redis can only have stood still for so long that somebody's lease lapsed
# meanwhile, two thirds of one, if our own renewal took a third: then nobody may be called dead for that.
SLOW: Final = 0.3

_TAKE: Final = Script("take")
_RENEW: Final = Script("renew")

log = structlog.get_logger()


class Lease:
    """Held until `deadline`, which is counted from before the renewal was sent.

    A lapsed lease is never renewed: the node takes a new incarnation, and `restore` has to settle who still owns what
    before the node stands again. A renewal that finds another server than the last one (a replica was promoted, an old
    snapshot loaded) keeps the lease, but has to settle as well: that server may not know of all that is owned.
    """

    def __init__(
        self, store: RedisClient, keys: Keys, node_id: str, seconds: float, counts: Counts | None = None
    ) -> None:
        self.node_id = node_id
        self.seconds = seconds
        self.incarnation = 0
        self.deadline = float("-inf")
        self.failing = False  # the last renewal didn't get through
        self.why = ""  # and why it didn't
        self.refused = ""  # why Redis takes no new data although it renews leases; else empty
        self._anonymous = False  # the server doesn't say who it is
        self._doubts = 0  # how often there was something to settle
        self._since = float("inf")
        self._store = store
        self._key = keys.lease(node_id)
        self._soon = anyio.Event()
        self._unsettled = anyio.Event()  # what is still owned has to be settled
        self._ended = False
        self._counts = counts or Counts()
        self._failures = Spell("redis unavailable", "redis is available again")
        self._refusals = Spell("redis refuses new data: no names, no calls", "redis takes new data again")

    @property
    def standing(self) -> bool:
        """Whether nobody can have taken anything from this node yet."""
        return read_clock(CLOCK_ID) < self.deadline

    @property
    def slow(self) -> float:
        """Seconds, the way to Redis and back included, after which an answer came late."""
        return self.seconds * SLOW + self._store.latency

    @property
    def age(self) -> float:
        """Seconds since the last renewal that got through was sent; infinite without a lease."""
        return clock() - (self.deadline - self.seconds)

    @property
    def settled(self) -> bool:
        """Held without a break or a slow renewal for a full lease: whoever lives had time to come back before us.

        Only such a node may call others dead, or take names over from them.
        """
        now = clock()
        return now < self.deadline and now - self._since >= self.seconds

    async def take(self) -> None:
        """Begin a new incarnation. Raises Unavailable."""
        began = clock()
        milliseconds, tail = round(self.seconds * 1000), round(TAIL_SECONDS * 1000)
        server = await self._store.script(_TAKE, self._key, self.incarnation + 1, milliseconds, tail, urgent=True)
        self._anonymous = not server
        self.incarnation += 1
        self._since, self.deadline = began, began + self.seconds

    async def keep(self, restore: Callable[[], Awaitable[None]], held: Callable[[], None]) -> None:
        """Renew for ever, calling `held` each time. After a lapse take a new incarnation and `restore` before that."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._restore, restore, held)
            await self._renew_for_ever(held)

    async def _restore(self, restore: Callable[[], Awaitable[None]], held: Callable[[], None]) -> None:
        """Beside the renewals: with many users it may take longer than a lease."""
        while True:
            await self._unsettled.wait()
            doubts = self._doubts
            try:
                await restore()
            except Unavailable as error:
                log.warning("not everything could be written back", error=str(error))
                await anyio.sleep(RETRY_SECONDS)
                continue
            if doubts == self._doubts:
                self._unsettled = anyio.Event()
                if self.standing:
                    held()

    def _doubt(self) -> None:
        """What we own has to be settled, and nobody is to be called dead before they could do the same."""
        self._doubts += 1
        self._since = clock()
        self._unsettled.set()

    def reconnected(self) -> None:
        """A connection to Redis had to be made anew: it may lead to another server, if that can't be told otherwise."""
        if self._anonymous and self.incarnation:
            self._doubt()

    async def _renew_for_ever(self, held: Callable[[], None]) -> None:
        while not self._ended:
            began, pause = clock(), self.seconds / 3
            try:
                await self._renew()
                self.failing, self.why = False, ""
                self._failures.over()
                if not self._unsettled.is_set():
                    held()
            except Unavailable as error:
                self.failing, self.why = True, str(error)
                self._since = clock()
                self._failures.again(error=str(error), standing=self.standing)
                began, pause = clock(), RETRY_SECONDS
            self._soon = anyio.Event()
            # Counted from the last one's beginning: however long the way is, a renewal leaves each third of a lease.
            with anyio.move_on_after(began + pause - clock()):
                await self._soon.wait()

    def hurry(self) -> None:
        """Look at the lease now, not at the next third."""
        self._soon.set()

    async def _renew(self) -> None:
        began = clock()
        milliseconds, tail = round(self.seconds * 1000), round(TAIL_SECONDS * 1000)
        result, *refusal = await self._store.script(
            _RENEW, self._key, self.incarnation, milliseconds, tail, urgent=True
        )
        self._note(refusal[0].decode(errors="replace") if refusal else "")
        match result:
            case 0:
                self._counts.lapses += 1
                log.warning("lease lapsed", incarnation=self.incarnation)
                self.deadline = float("-inf")
                await self.take()
                self._doubt()
                return
            case 2:
                log.warning("redis is another server now: settling what is owned")
                self._doubt()
            case _ if began >= self.deadline:  # others may have seen it lapse, if Redis' clock was set back since
                self._doubt()
        self.deadline = began + self.seconds
        if clock() - began > self.slow:
            self._since = clock()

    def _note(self, refusal: str) -> None:
        self.refused = refusal
        if refusal:
            self._refusals.again(error=refusal)
        else:
            self._refusals.over()

    async def end(self) -> None:
        """Let it lapse now: whoever may resume elsewhere needn't wait for it. Raises Unavailable."""
        self._ended, self.deadline = True, float("-inf")
        await self._store.call("PEXPIRE", self._key, round(TAIL_SECONDS * 1000))
