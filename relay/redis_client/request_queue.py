"""What one server is asked: calls that wait for their turn, and the pipeline that is under way.

Each primary of a cluster has a way of its own, so that nobody waits for another one than the one that he asks.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio
import redis.exceptions

from relay.metrics import Counts
from relay.redis_client.pipeline import PipelineConnection

# Whoever waits for the directory is told "unavailable" within a second, the way back included.
CALL_SECONDS: Final = 0.9
# Calls that wait behind others, while those are answered, are given up after so long.
QUEUE_SECONDS: Final = 10.0
# Commands in one pipeline: a few milliseconds of this node's time, so that a thousand users who come at once don't hold
# up the messages of the others. Larger ones save hardly anything.
BATCH: Final = 32
# On a long way one pipeline takes as many commands as the server would have carried out while the one before was on its
# way: BATCH of them in so many seconds. No more than this, which costs the node some 20 ms.
BATCH_SECONDS: Final = 0.01
LARGEST_BATCH: Final = 1024
# Calls that came while others were under way wait so long for more: fewer, larger pipelines cost a crowd that logs in
# less (docs/performance.md). Who comes alone doesn't wait, nor does a full pipeline.
GATHER_SECONDS: Final = 0.002


class Unavailable(Exception):
    """Redis can't be asked right now. Whether the command was carried out is unknown."""


NO_ANSWER: Final = Unavailable("no answer in time")

_ASKING: Final = ("ASKING",)
# Refusals of a server that is well, and names another one.
_ELSEWHERE: Final = ("MOVED ", "ASK ")


class Call:
    """A command that waits for its turn, then for its answer, and who waits for that."""

    __slots__ = ("args", "asking", "began", "done", "hops", "until", "urgent")

    def __init__(self, args: Sequence[Any], began: float, *, urgent: bool = False) -> None:
        self.args = args
        self.began = began
        self.urgent = urgent  # it goes before all others
        self.until = 0.0  # once it was sent to a server that answers: how long that may take
        self.asking = False  # its slot is on the way to the server that is asked
        self.hops = 0  # servers that named another one
        # The answer, or an exception as a value. No event and scope with a deadline: a crowd has thousands of these.
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def end(self, result: Any) -> None:
        """Whoever waits has this result, if nobody has given up before."""
        if not self.done.done():
            self.done.set_result(result)


class RequestQueue:
    """The calls for one server. `failed(call, error)`: a call was refused, or has no answer."""

    def __init__(self, line: PipelineConnection, counts: Counts, failed: Callable[[Call, Exception], None]) -> None:
        self.answering = True  # the last pipeline was answered
        self._line = line
        self._counts = counts
        self._failed = failed
        self._queue: deque[Call] = deque()
        self._urgent: deque[Call] = deque()
        self._asked: Sequence[Call] = ()  # in the pipeline that is under way
        self._wake = anyio.Event()
        self._over = False

    @property
    def crowded(self) -> bool:
        """Calls wait for their turn, and others are answered meanwhile."""
        return self.answering and len(self._queue) >= self._batch

    @property
    def latency(self) -> float:
        """Seconds that the way to the server and back takes, as far as is known."""
        return self._line.latency

    @property
    def _batch(self) -> int:
        """How many commands the next pipeline may have."""
        return min(LARGEST_BATCH, round(BATCH * max(1.0, self._line.latency / BATCH_SECONDS)))

    @property
    def asking(self) -> bool:
        """Somebody waits for an answer about a slot that is on its way to this server."""
        return any(call.asking for calls in (self._asked, self._urgent, self._queue) for call in calls)

    def put(self, call: Call) -> None:
        """Have a call wait for its turn."""
        (self._urgent if call.urgent else self._queue).append(call)
        self._wake.set()

    async def run(self) -> None:
        """Carry out what is asked, one pipeline at a time: what comes meanwhile, or soon after, makes the next one."""
        try:
            while not self._over:
                if not self._queue and not self._urgent:
                    self._wake = anyio.Event()
                    await self._wake.wait()
                calls: list[Call] = []
                batch = self._batch
                for queue in (self._urgent, self._queue):
                    while queue and len(calls) < batch:
                        call = queue.popleft()
                        if not call.done.done():
                            calls.append(call)
                if calls:
                    await self._pipeline(calls)
                if self._queue and not self._urgent and len(self._queue) < batch:
                    await anyio.sleep(GATHER_SECONDS)
        finally:
            self._line.close()

    async def _pipeline(self, calls: list[Call]) -> None:
        now = time.monotonic()
        self._asked = calls
        for call in calls:
            call.until = now + CALL_SECONDS + self._line.latency if self.answering else 0.0
        try:
            results = await self._ask(calls)
        except Exception as error:  # not only RedisError: uvloop raises RuntimeError on a connection that just broke
            results = [error] * len(calls)
        self._asked = ()
        self.answering = not all(map(_no_answer, results))
        if self.answering:
            self._counts.round_trips.observe(time.monotonic() - now)
        else:
            self._counts.redis_failures += 1
        for call, result in zip(calls, results, strict=True):
            if isinstance(result, Exception):
                self._failed(call, result)
            else:
                call.end(result)

    async def _ask(self, calls: list[Call]) -> list[Any]:
        if not any(call.asking for call in calls):
            return await self._line.ask([call.args for call in calls])
        commands = [command for call in calls for command in ((_ASKING, call.args) if call.asking else (call.args,))]
        answers = iter(await self._line.ask(commands))
        return [(next(answers), next(answers))[1] if call.asking else next(answers) for call in calls]

    def look(self, now: float) -> None:
        """Give up what has waited for too long. To be called all the time."""
        patience = CALL_SECONDS + self._line.latency
        for call in self._asked:
            if now >= max(call.began + patience, call.until):
                call.end(NO_ANSWER)
        # While others are answered, waiting for one's turn doesn't count.
        patience = QUEUE_SECONDS if self.answering else patience
        for queue in (self._urgent, self._queue):
            if not self.answering or (queue and now >= queue[0].began + patience):
                for call in queue:
                    if now >= call.began + patience:
                        call.end(NO_ANSWER)

    def sort(self, elsewhere: Callable[[Call], bool]) -> None:
        """Let go of the calls that wait and that `elsewhere` has put in another place."""
        for queue in (self._urgent, self._queue):
            if queue:
                staying = [call for call in queue if not elsewhere(call)]
                queue.clear()
                queue.extend(staying)

    def leave(self) -> None:
        """The server isn't one to be asked any more: what is under way fails, and `run` ends."""
        self._over = True
        for call in self._asked:
            call.end(redis.exceptions.ConnectionError("another server has the place of the one that was asked"))
        self._line.abort()
        self._wake.set()


def _no_answer(result: Any) -> bool:
    return isinstance(result, Exception) and not (
        isinstance(result, redis.exceptions.NoScriptError) or str(result).startswith(_ELSEWHERE)
    )
