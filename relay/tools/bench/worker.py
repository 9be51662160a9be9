"""One process of a run, with some of the pairs on real sockets. It reads a job from stdin and reports on stdout.

Each report is one line of JSON: Ready, Progress every second, and Result. After Ready a line on stdin starts the load.
The end of stdin ends the process.
"""

import asyncio
import importlib.util
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

import msgspec
from msgspec import Struct, field

from relay.configuration.config import StartError, first_error, show_server
from relay.tools.bench.client_dialects import speech
from relay.tools.bench.histogram import Histogram
from relay.tools.bench.pair import End, Pair, Stage
from relay.tools.bench.run_settings import IN_FLIGHT, MAX_IN_FLIGHT, Address, Job
from relay.tools.testbed.certificates import client_context
from relay.tools.testbed.user_connection import look_up
from relay.tools.testbed.web_lines import NoWebSocket, WebLines

WARM_UP_SECONDS: Final = 1.0  # of load before the measurement, for caches, TCP windows and Python's own warm-up
DRAIN_SECONDS: Final = 5.0  # after the load, for messages in flight; later ones count as lost
DRAIN_POLL_SECONDS: Final = 0.02
LOGIN_SECONDS: Final = 20.0  # for both users of a pair to log in and meet
AGAIN_SECONDS: Final = 0.2  # the pause before a request is repeated
LOGINS_AT_ONCE: Final = 50  # for one worker, so that the logins aren't a load of their own
TICK_SECONDS: Final = 0.001  # the interval at which a steady rate is kept up
PROGRESS_SECONDS: Final = 1.0
_SCHEDSTAT: Final = Path("/proc/self/schedstat")  # ns on a CPU, ns waiting for one (Linux)


class Ready(Struct, tag=True):
    """All pairs are in their chats."""

    seconds: float  # the time that this took


class Progress(Struct, tag=True):
    """The number of messages delivered since the last report."""

    delivered: int


class Failed(Struct, tag=True):
    """The run can't begin."""

    complaint: str


class Result(Struct, tag=True):
    """The outcome of this worker's pairs."""

    sent: int
    delivered: int
    unconfirmed: int
    unanswered: int  # messages without an outcome; always 0 in the text dialect, which reports none
    measured: int  # messages delivered within the measured time
    seconds: float  # the measured time
    busy: float  # share of one core that this process used in the measured time
    waiting: float  # share of the measured time in which this process was ready to run and no core was free
    complaints: dict[str, int] = field(default_factory=dict)
    latencies: dict[int, int] = field(default_factory=dict)


Report = Ready | Progress | Failed | Result


class _Wire(asyncio.Protocol):
    """The connection of one user. It passes data to `feed`, and sets `changed` after each."""

    def __init__(self, end: End, run: "_Run", pair: Pair, web: WebLines | None) -> None:
        self._end = end
        self._web = web
        self._run = run
        self._pair = pair
        self._transport: asyncio.Transport | None = None
        self.paused = False
        self.changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's class isn't a subclass of it
        if self._web is not None:
            self._transport.write(self._web.take_owed())

    def data_received(self, data: bytes) -> None:
        if self._web is not None:
            data = self._unwrap(data, self._web)
        if self._end is self._pair.receiver:
            self.write(self._pair.hear(data, time.monotonic_ns(), self._run.latencies))
        else:
            self._end.feed(data)
        self.changed.set()
        self._run.moved(self._pair)

    def _unwrap(self, data: bytes, web: WebLines) -> bytes:
        try:
            data = web.feed(data)
        except NoWebSocket as error:
            self._end.end(f"no WebSocket: {error}")
            return b""
        if web.owed and self._transport is not None:
            self._transport.write(web.take_owed())
        return data

    async def opened(self) -> None:
        """Wait for the end of the handshake of WebSocket, if there is one. Raises _Refused."""
        while self._web is not None and not self._web.open:
            if self._end.stage is Stage.ENDED:
                raise _Refused(f"{self._end.name}: {', '.join(self._end.complaints)}")
            self.changed.clear()
            await self.changed.wait()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._run.moved(self._pair)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None  # uvloop's refuses to write from now on
        if not self._run.over:
            self._end.end("connection lost")
        self.changed.set()

    def write(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data if self._web is None else self._web.frames(data))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def ask(self, words: bytes, stage: Stage) -> None:
        """Send a request, repeatedly if it isn't possible right now, until the stage is reached. Raises _Refused."""
        self.write(words)
        while self._end.stage is not stage:
            if self._end.later:
                self._end.later = False
                await asyncio.sleep(AGAIN_SECONDS)
                self.write(words)
            if self._end.stage is Stage.ENDED:
                raise _Refused(f"{self._end.name}: {', '.join(self._end.complaints)}")
            self.changed.clear()
            await self.changed.wait()


class _Refused(Exception):
    """A user can't connect, log in or meet its partner."""


def _cant_connect(server: Address, error: OSError) -> _Refused:
    return _Refused(f"can't connect to {show_server(server)}: {error.strerror or error}")


class _Run:
    """The execution of one job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._speech = speech(job.settings.dialect, acks=job.settings.acks)
        # At a steady rate a sender waits only for a partner that falls behind.
        in_flight = MAX_IN_FLIGHT if job.settings.rate else job.settings.in_flight or IN_FLIGHT
        answers = job.settings.dialect == "json"
        self._pairs = [
            Pair(number, job.tag, self._speech, in_flight=in_flight, answers=answers) for number in job.pairs
        ]
        self._tls = client_context(job.target.ca) if job.settings.tls else None
        self._senders: dict[Pair, _Wire] = {}
        self._wires: list[_Wire] = []
        self._pushing = False  # messages are sent as fast as possible, and not at a steady rate
        self._logins = asyncio.Semaphore(LOGINS_AT_ONCE)
        self.latencies: Histogram | None = None
        self.over = False

    async def meet(self) -> None:
        """Connect, log in and pair all users. Raises _Refused and StartError in an exception group."""
        for server in self._job.target.servers:
            await look_up(server)
        async with asyncio.TaskGroup() as tasks:
            for pair in self._pairs:
                tasks.create_task(self._meet(pair))

    async def _meet(self, pair: Pair) -> None:
        async with self._logins:
            try:
                async with asyncio.timeout(LOGIN_SECONDS):
                    here, there = self._job.places(pair.number)
                    sender = await self._log_in(pair.sender, pair, here)
                    receiver = await self._log_in(pair.receiver, pair, there)
                    await sender.ask(self._speech.call(pair.receiver.name), Stage.PAIRED)
                    await receiver.ask(b"", Stage.PAIRED)
            except TimeoutError:
                raise _Refused(f"{pair.sender.name}: no answer within {LOGIN_SECONDS:g} s") from None
        self._senders[pair] = sender

    async def _log_in(self, end: End, pair: Pair, server: Address) -> _Wire:
        loop = asyncio.get_running_loop()
        try:
            web = WebLines(*server) if self._job.settings.ws else None
            _, wire = await loop.create_connection(lambda: _Wire(end, self, pair, web), *server, ssl=self._tls)
        except OSError as error:
            raise _cant_connect(server, error) from None
        self._wires.append(wire)
        await wire.opened()
        await wire.ask(self._speech.hello(end.name), Stage.FREE)
        return wire

    async def load(self) -> Result:
        """Load and measure, and wait for messages in flight."""
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(self._tell_progress())]
            if self._job.rate:
                others.append(tasks.create_task(self._keep_rate(self._job.rate)))
            else:
                self._pushing = True
                for pair in self._pairs:
                    self.moved(pair)
            result = await self._measure()
            self._pushing = False
            for task in others:
                task.cancel()
        await self._drain()
        return self._conclude(result)

    def moved(self, pair: Pair) -> None:
        """Send more messages, after data arrived for one of the two or its socket became writable."""
        if self._pushing and (wire := self._senders.get(pair)) and not wire.paused and (room := pair.room()):
            wire.write(pair.say(room, time.monotonic_ns()))

    async def _keep_rate(self, rate: float) -> None:
        """Spread messages over the pairs, each stamped with the time at which it was due, if that is long ago.

        A cluster that delays senders therefore doesn't look fast because few messages were sent meanwhile.
        """
        began, said, turn = time.monotonic_ns(), 0, 0
        tick, count = int(TICK_SECONDS * 1e9), len(self._pairs)
        while True:
            now = time.monotonic_ns()
            skipped = 0
            while skipped < count and (due := began + int(said * 1e9 / rate)) <= now:
                pair = self._pairs[turn % count]
                turn += 1
                wire = self._senders[pair]
                if wire.paused or not pair.room():
                    skipped += 1
                else:
                    wire.write(pair.say(1, min(now, due + tick)))
                    said, skipped = said + 1, 0
            await asyncio.sleep(TICK_SECONDS)

    async def _measure(self) -> Result:
        await asyncio.sleep(WARM_UP_SECONDS)
        self.latencies = Histogram()
        clock, (cpu, waited), before = time.monotonic(), _cpu(), self._delivered()
        await asyncio.sleep(self._job.settings.seconds)
        seconds, (cpu_now, waited_now) = time.monotonic() - clock, _cpu()
        latencies, self.latencies = self.latencies, None
        return Result(
            sent=0,
            delivered=0,
            unconfirmed=0,
            unanswered=0,
            measured=self._delivered() - before,
            seconds=seconds,
            busy=(cpu_now - cpu) / seconds,
            waiting=(waited_now - waited) / seconds,
            latencies=latencies.counts,
        )

    async def _drain(self) -> None:
        deadline = time.monotonic() + DRAIN_SECONDS
        # This polls, because an event would cost time for every message.
        while not all(pair.settled for pair in self._pairs) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(DRAIN_POLL_SECONDS)

    def _conclude(self, result: Result) -> Result:
        complaints: Counter[str] = Counter()
        for pair in self._pairs:
            complaints += pair.sender.complaints + pair.receiver.complaints
        result.sent = sum(pair.sent for pair in self._pairs)
        result.delivered = self._delivered()
        result.unconfirmed = sum(pair.sender.unconfirmed for pair in self._pairs)
        result.unanswered = sum(pair.sent - pair.answered for pair in self._pairs)
        result.complaints = dict(complaints)
        return result

    def _delivered(self) -> int:
        return sum(pair.receiver.received for pair in self._pairs)

    async def _tell_progress(self) -> None:
        told = 0
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            delivered = self._delivered()
            tell(Progress(delivered - told))
            told = delivered

    def close(self) -> None:
        """Close all connections."""
        self.over = True
        for wire in self._wires:
            wire.close()


def _cpu() -> tuple[float, float]:
    """Return seconds on a CPU, and seconds waiting for one (0 if the system doesn't report that)."""
    with suppress(OSError, ValueError, IndexError):
        return time.process_time(), int(_SCHEDSTAT.read_text().split()[1]) / 1e9
    return time.process_time(), 0.0


def tell(report: Report) -> None:
    """Send a report to the coordinator."""
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


async def _work() -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    run = _Run(msgspec.json.decode(await lines.readline(), type=Job))
    try:
        tell(ready := await _meet(run))
        if isinstance(ready, Ready) and await lines.readline():
            tell(await run.load())
    finally:
        run.close()


async def _meet(run: _Run) -> Ready | Failed:
    began = time.monotonic()
    complaint = ""
    try:
        await run.meet()
    except* (_Refused, StartError) as group:
        complaint = str(first_error(group))
    return Failed(complaint) if complaint else Ready(time.monotonic() - began)


def main() -> None:
    """Run the worker process."""
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        uvloop.run(_work())
    else:
        asyncio.run(_work())


if __name__ == "__main__":
    main()
