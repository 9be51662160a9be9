"""Runs all workers of one run, from their start to the outcome."""

import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

import anyio
import msgspec
from anyio.abc import Process, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream
from msgspec import Struct, field

from relay.configuration.config import StartError, one_start_error
from relay.process import parent_guard
from relay.tools.bench.histogram import Histogram
from relay.tools.bench.local_cluster import own_cluster
from relay.tools.bench.run_settings import Address, Job, RunSettings, Target, share_out
from relay.tools.bench.worker import DRAIN_SECONDS, WARM_UP_SECONDS, Failed, Progress, Ready, Report, Result

_WORKER: Final = (sys.executable, "-P", "-m", "relay.tools.bench.worker")
_MAX_LINE: Final = 16 * 1024 * 1024  # bytes of a worker's line; its histogram has a few thousand buckets
END_SECONDS: Final = 30.0  # after load and drain, for a worker's result on a busy machine
# A worker that uses (or waits for) this share of a core may have been slower than the cluster.
BUSY: Final = 0.9

Tell = Callable[[str], None]


class Outcome(Struct):
    """The outcome of a run."""

    settings: RunSettings
    servers: tuple[Address, ...]
    results: list[Result]
    met_seconds: float  # the time until all pairs were in their chats
    latencies: Histogram = field(default_factory=Histogram)
    complaints: Counter[str] = field(default_factory=Counter)

    @property
    def sent(self) -> int:
        """Messages sent, including the warm-up."""
        return sum(result.sent for result in self.results)

    @property
    def delivered(self) -> int:
        """The number of sent messages that reached their partners."""
        return sum(result.delivered for result in self.results)

    @property
    def lost(self) -> int:
        """The number of sent messages that had not reached their partners when the run ended."""
        return self.sent - self.delivered

    @property
    def unanswered(self) -> int:
        """The number of sent messages without an outcome for their senders."""
        return sum(result.unanswered for result in self.results)

    @property
    def unconfirmed(self) -> int:
        """The number of sent messages that were reported to their senders as unconfirmed."""
        return sum(result.unconfirmed for result in self.results)

    @property
    def rate(self) -> float:
        """Messages delivered a second in the measured time."""
        return sum(result.measured / result.seconds for result in self.results)

    @property
    def clean(self) -> bool:
        """Whether every message arrived and no request was refused."""
        return not (self.lost or self.unanswered or self.unconfirmed or self.complaints)

    @property
    def limited_by(self) -> str:
        """What limited the rate other than the cluster, if the workers can tell, or ""."""
        if any(result.busy >= BUSY for result in self.results):
            return "the load generator was the limit: use more --processes, or more machines"
        if any(result.busy + result.waiting >= BUSY for result in self.results):
            return "this machine was the limit: the load generator waited for a free core"
        return ""


async def run(settings: RunSettings, tell: Tell = lambda _: None) -> Outcome:
    """Carry the run out. Calls `tell` with each line of progress. Raises StartError."""
    with one_start_error():
        async with AsyncExitStack() as stack:
            target = Target(settings.servers, settings.ca)
            if not settings.servers:
                target = await stack.enter_async_context(own_cluster(tls=settings.tls))
            tell(f"{settings.pairs} pairs meet on {len(target.servers)} servers")
            return await _Gathering(settings, target, tell).run()


class _Gathering:
    """The worker processes of one run."""

    def __init__(self, settings: RunSettings, target: Target, tell: Tell) -> None:
        self._settings = settings
        self._tell = tell
        self._jobs = share_out(settings, target, f"bench{secrets.token_hex(3)}")
        self._outcome = Outcome(settings, target.servers, [], 0.0)
        self._ready = 0
        self._all_ready = anyio.Event()
        self._second: Counter[int] = Counter()  # delivered messages, by second
        self._told: Counter[int] = Counter()  # workers that have reported, by second

    async def run(self) -> Outcome:
        async with anyio.create_task_group() as tasks:
            for job in self._jobs:
                tasks.start_soon(self._attend, job, tasks)
        for result in self._outcome.results:
            self._outcome.latencies.merge(Histogram(result.latencies))
            self._outcome.complaints += Counter(result.complaints)
        return self._outcome

    async def _attend(self, job: Job, tasks: TaskGroup) -> None:
        async with _worker() as process:
            assert process.stdin is not None and process.stdout is not None
            reports = BufferedByteReceiveStream(process.stdout)
            await process.stdin.send(msgspec.json.encode(job) + b"\n")
            self._note_ready(await _next(reports))
            await self._all_ready.wait()
            await process.stdin.send(b"go\n")
            second = 0
            with anyio.move_on_after(WARM_UP_SECONDS + self._settings.seconds + DRAIN_SECONDS + END_SECONDS):
                while not isinstance(report := await _next(reports), Result):
                    second += 1
                    self._note_progress(second, report)
                self._outcome.results.append(report)
                return
            raise StartError("a worker of the load generator doesn't end")

    def _note_ready(self, report: Report) -> None:
        assert isinstance(report, Ready)
        self._outcome.met_seconds = max(self._outcome.met_seconds, report.seconds)
        self._ready += 1
        if self._ready == len(self._jobs):
            self._tell(f"all met in {self._outcome.met_seconds:.1f} s")
            self._all_ready.set()

    def _note_progress(self, second: int, report: Report) -> None:
        assert isinstance(report, Progress)
        self._second[second] += report.delivered
        self._told[second] += 1
        if self._told[second] == len(self._jobs):
            self._tell(f"{second:4d} s  {self._second.pop(second):,} messages/s")


async def _next(reports: BufferedByteReceiveStream) -> Report:
    """Return a worker's next report. Raises StartError if the worker has failed or ended."""
    try:
        report: Report = msgspec.json.decode(await reports.receive_until(b"\n", _MAX_LINE), type=Report)
    except (anyio.EndOfStream, anyio.IncompleteRead):
        raise StartError("a worker of the load generator ended by itself") from None
    if isinstance(report, Failed):
        raise StartError(report.complaint)
    return report


@asynccontextmanager
async def _worker() -> AsyncIterator[Process]:
    """Yield a worker process, and kill it at the end: it has nothing to save."""
    process = await anyio.open_process(
        parent_guard.command(_WORKER),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None,
        start_new_session=True,  # a Ctrl-C in the terminal goes to this process, which ends the workers
    )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            with suppress(ProcessLookupError):  # it has ended by itself
                process.kill()
            await process.aclose()
