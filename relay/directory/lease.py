"""The lease of this node: one for all its users together, renewed every third of its duration."""

from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import structlog

from relay.clock import clock, clocks
from relay.logs import Spell
from relay.metrics import Counts
from relay.redis_client.client import RedisClient, Script, Unavailable
from relay.redis_client.keys import Keys

# How long the key of a lapsed lease is kept: its TTL shows others when the lease lapsed. No grace period is longer.
TAIL_SECONDS: Final = 3600.0
# The pause after a renewal that failed.
RETRY_SECONDS: Final = 0.2
# The part of a lease after which a renewal is slow. Redis can only have stalled for long enough to let another lease
# lapse (two thirds of one) if our own renewal took a third. Then that lapse proves nobody dead.
SLOW: Final = 0.3

_TAKE: Final = Script("take")
_RENEW: Final = Script("renew")

log = structlog.get_logger()


class Lease:
    """The node holds the lease until `deadline`, which is counted from before the renewal was sent.

    A lapsed lease is never renewed. The node takes a new incarnation, and `restore` has to check which names it still
    owns before the node serves again. A renewal that finds another server than the last one (a replica was promoted, an
    old snapshot was loaded) keeps the lease. The names have to be checked then too, as that server may lack some.
    """

    def __init__(
        self, redis_client: RedisClient, keys: Keys, node_id: str, seconds: float, counts: Counts | None = None
    ) -> None:
        self.node_id = node_id
        self.seconds = seconds
        self.incarnation = 0
        self.deadline = float("-inf")
        self.failing = False  # whether the last renewal failed
        self.why = ""  # the reason for that; empty if it succeeded
        self.refused = ""  # the reason why Redis takes no new data although it renews leases; else empty
        self._anonymous = False  # whether the server doesn't say which one it is
        self._doubts = 0  # the number of times when ownership had to be checked
        self._since = float("inf")
        self._redis_client = redis_client
        self._key = keys.lease(node_id)
        self._soon = anyio.Event()
        self._in_doubt = anyio.Event()  # is set while ownership has to be checked
        self._ended = False
        self._counts = counts or Counts()
        self._failures = Spell("redis unavailable", "redis is available again")
        self._refusals = Spell("redis refuses new data: no names, no calls", "redis takes new data again")

    @property
    def standing(self) -> bool:
        """Whether the lease holds, so that no other node can have taken a name from this one yet."""
        return clocks.lease() < self.deadline

    @property
    def slow(self) -> float:
        """The seconds after which a reply is late, the round trip to Redis included."""
        return self.seconds * SLOW + self._redis_client.latency

    @property
    def age(self) -> float:
        """The seconds since the last successful renewal was sent; infinite without a lease."""
        return clock() - (self.deadline - self.seconds)

    @property
    def held_long_enough(self) -> bool:
        """Whether the lease was held for its full duration without a break or a slow renewal.

        Then every live node has had time to renew its own. Only such a node may declare others dead, or take over their
        names.
        """
        now = clock()
        return now < self.deadline and now - self._since >= self.seconds

    async def take(self) -> None:
        """Take a lease for a new incarnation. Raises Unavailable."""
        began = clock()
        milliseconds, tail = round(self.seconds * 1000), round(TAIL_SECONDS * 1000)
        server = await self._redis_client.script(
            _TAKE, self._key, self.incarnation + 1, milliseconds, tail, urgent=True
        )
        self._anonymous = not server
        self.incarnation += 1
        self._since, self.deadline = began, began + self.seconds

    async def keep(self, restore: Callable[[], Awaitable[None]], held: Callable[[], None]) -> None:
        """Renew until cancelled, and call `held` each time; after a lapse only once `restore` is through."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._restore, restore, held)
            await self._renew_for_ever(held)

    async def _restore(self, restore: Callable[[], Awaitable[None]], held: Callable[[], None]) -> None:
        """Check ownership concurrently with the renewals, because with many users it may take longer than a lease."""
        while True:
            await self._in_doubt.wait()
            doubts = self._doubts
            try:
                await restore()
            except Unavailable as error:
                log.warning("not everything could be written back", error=str(error))
                await anyio.sleep(RETRY_SECONDS)
                continue
            if doubts == self._doubts:
                self._in_doubt = anyio.Event()
                if self.standing:
                    held()

    def _doubt(self) -> None:
        """Have ownership checked, and declare no node dead before others could do the same."""
        self._doubts += 1
        self._since = clock()
        self._in_doubt.set()

    def reconnected(self) -> None:
        """Handle a new connection to Redis. If servers don't identify themselves it may lead to another one."""
        if self._anonymous and self.incarnation:
            self._doubt()

    async def _renew_for_ever(self, held: Callable[[], None]) -> None:
        while not self._ended:
            began, pause = clock(), self.seconds / 3
            try:
                await self._renew()
                self.failing, self.why = False, ""
                self._failures.over()
                if not self._in_doubt.is_set():
                    held()
            except Unavailable as error:
                self.failing, self.why = True, str(error)
                self._since = clock()
                self._failures.again(error=str(error), standing=self.standing)
                began, pause = clock(), RETRY_SECONDS
            self._soon = anyio.Event()
            # The pause counts from the start of the last renewal, so that one is sent every third of a lease whatever
            # the round trip.
            with anyio.move_on_after(began + pause - clock()):
                await self._soon.wait()

    def hurry(self) -> None:
        """Renew the lease now, and don't wait for the next third."""
        self._soon.set()

    async def _renew(self) -> None:
        began = clock()
        milliseconds, tail = round(self.seconds * 1000), round(TAIL_SECONDS * 1000)
        result, *refusal = await self._redis_client.script(
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
            case _ if began >= self.deadline:  # others may have seen it lapse if Redis' clock was set back since
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
        """Let the lease lapse now, so that no client has to wait for it to resume elsewhere. Raises Unavailable."""
        self._ended, self.deadline = True, float("-inf")
        await self._redis_client.call("PEXPIRE", self._key, round(TAIL_SECONDS * 1000))
