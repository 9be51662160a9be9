"""The queue of calls for one server, and the pipeline that is under way.

Each primary of a cluster has its own queue, so that a call waits for its own server only.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio
import redis.exceptions

from relay.clock import clocks
from relay.metrics import Counts
from relay.redis_client.backoff import Backoff
from relay.redis_client.pipeline import PipelineConnection

# The timeout of a call. Clients that wait for the directory get "unavailable" within a second, the way back included.
CALL_SECONDS: Final = 0.9
# How long a call may stay in the queue while others are answered.
QUEUE_SECONDS: Final = 10.0
# The number of commands in one pipeline. It costs a few milliseconds of this node's time, so that a thousand users who
# come at once don't delay the messages of others. Larger pipelines save hardly anything.
BATCH: Final = 32
# With a long round trip, a pipeline takes the commands that a near server would have carried out meanwhile: BATCH of
# them in BATCH_SECONDS. It has at most LARGEST_BATCH, which cost the node some 20 ms.
BATCH_SECONDS: Final = 0.01
LARGEST_BATCH: Final = 1024
# How long calls that came while others were under way wait for more: fewer, larger pipelines make the login of a crowd
# cheaper (docs/performance.md). A single call doesn't wait, nor does a full pipeline.
GATHER_SECONDS: Final = 0.002
# The pauses after pipelines in a row without any reply. The next one makes a new connection: without a pause the calls
# of a node, which are all tried again, made dozens of them in a second. After the first failure there is none, as that
# may just have been the end of a connection.
FAILED_SECONDS: Final = (0.0, 0.0, 0.05, 0.1, 0.15)


class Unavailable(Exception):
    """Redis doesn't answer right now. It is unknown whether the command was carried out."""


NO_ANSWER: Final = Unavailable("no answer in time")

_ASKING: Final = ("ASKING",)
# Refusals by which a healthy server redirects to another one.
_ELSEWHERE: Final = ("MOVED ", "ASK ")


class Call:
    """A command that waits in the queue, then for its reply, and the future of that reply."""

    __slots__ = ("args", "asking", "began", "done", "hops", "until", "urgent")

    def __init__(self, args: Sequence[Any], began: float, *, urgent: bool = False) -> None:
        self.args = args
        self.began = began
        self.urgent = urgent  # whether it goes before all others
        self.until = 0.0  # its deadline, once it was sent to a server that answers
        self.asking = False  # whether its slot is moving to the server that is asked
        self.hops = 0  # the number of its redirections
        # The reply, or an exception as a value. An event and a cancel scope would cost too much: a crowd has thousands.
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def end(self, result: Any) -> None:
        """Set the result, unless the call has already ended."""
        if not self.done.done():
            self.done.set_result(result)


class RequestQueue:
    """The calls for one server. `failed(call, error)` is called for each that was refused or got no reply."""

    def __init__(self, line: PipelineConnection, counts: Counts, failed: Callable[[Call, Exception], None]) -> None:
        self.answering = True  # whether the last pipeline was answered
        self._line = line
        self._counts = counts
        self._failed = failed
        self._queue: deque[Call] = deque()
        self._urgent: deque[Call] = deque()
        self._asked: Sequence[Call] = ()  # the calls in the pipeline that is under way
        self._wake = anyio.Event()
        self._over = False

    @property
    def crowded(self) -> bool:
        """Whether calls queue up although the server answers."""
        return self.answering and len(self._queue) >= self._batch

    @property
    def latency(self) -> float:
        """The network round trip to the server in seconds; 0 while unknown."""
        return self._line.latency

    @property
    def _batch(self) -> int:
        """The largest number of calls in the next pipeline."""
        return min(LARGEST_BATCH, round(BATCH * max(1.0, self._line.latency / BATCH_SECONDS)))

    @property
    def asking(self) -> bool:
        """Whether a call is about a slot that is moving to this server."""
        return any(call.asking for calls in (self._asked, self._urgent, self._queue) for call in calls)

    def put(self, call: Call) -> None:
        """Queue a call."""
        (self._urgent if call.urgent else self._queue).append(call)
        self._wake.set()

    async def run(self) -> None:
        """Carry out calls, one pipeline at a time. Those that come meanwhile, or soon after, form the next one."""
        backoff = Backoff(FAILED_SECONDS)
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
                    replied = await self._pipeline(calls)
                    if pause := backoff.after(well=replied):
                        await anyio.sleep(pause)
                if self._queue and not self._urgent and len(self._queue) < batch:
                    await anyio.sleep(GATHER_SECONDS)
        finally:
            self._line.close()

    async def _pipeline(self, calls: list[Call]) -> bool:
        """Carry calls out. Returns whether the server replied, even if with refusals only."""
        now = clocks.monotonic()
        self._asked = calls
        for call in calls:
            call.until = now + CALL_SECONDS + self._line.latency if self.answering else 0.0
        replied = True
        try:
            results = await self._ask(calls)
        except Exception as error:  # uvloop raises RuntimeError, not a RedisError, on a connection that just broke
            replied, results = False, [error] * len(calls)
        self._asked = ()
        self.answering = not all(map(_no_answer, results))
        if self.answering:
            self._counts.round_trips.observe(clocks.monotonic() - now)
        else:
            self._counts.redis_failures += 1
        for call, result in zip(calls, results, strict=True):
            if isinstance(result, Exception):
                self._failed(call, result)
            else:
                call.end(result)
        return replied

    async def _ask(self, calls: list[Call]) -> list[Any]:
        if not any(call.asking for call in calls):
            return await self._line.ask([call.args for call in calls])
        commands = [command for call in calls for command in ((_ASKING, call.args) if call.asking else (call.args,))]
        answers = iter(await self._line.ask(commands))
        return [(next(answers), next(answers))[1] if call.asking else next(answers) for call in calls]

    def end_overdue(self, now: float) -> None:
        """End the calls that have waited for too long. Call this regularly, with the monotonic time."""
        patience = CALL_SECONDS + self._line.latency
        for call in self._asked:
            if now >= max(call.began + patience, call.until):
                call.end(NO_ANSWER)
        # Time in the queue doesn't count while other calls are answered.
        patience = QUEUE_SECONDS if self.answering else patience
        for queue in (self._urgent, self._queue):
            if not self.answering or (queue and now >= queue[0].began + patience):
                for call in queue:
                    if now >= call.began + patience:
                        call.end(NO_ANSWER)

    def sort(self, elsewhere: Callable[[Call], bool]) -> None:
        """Remove the queued calls for which `elsewhere` returns True, as it has moved them."""
        for queue in (self._urgent, self._queue):
            if queue:
                staying = [call for call in queue if not elsewhere(call)]
                queue.clear()
                queue.extend(staying)

    def leave(self) -> None:
        """Leave a server that serves nothing any more: the calls under way fail, and `run` ends."""
        self._over = True
        for call in self._asked:
            call.end(redis.exceptions.ConnectionError("another server has the place of the one that was asked"))
        self._line.abort()
        self._wake.set()


def _no_answer(result: Any) -> bool:
    return isinstance(result, Exception) and not (
        isinstance(result, redis.exceptions.NoScriptError) or str(result).startswith(_ELSEWHERE)
    )
