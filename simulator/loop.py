"""An asyncio event loop on virtual time and virtual sockets.

It is asyncio's own selector loop. What that gets from the system is replaced: the clock, the poll, sockets, name
look-ups, threads and signals. So are the iteration, `call_soon` and `call_at`, as the order is drawn and a simulation
spends much of its time there. Transports, servers, streams, futures and tasks are the real code, and differ between
releases of Python exactly as they do in production.

What asyncio promises is kept: callbacks of `call_soon` are called in the order of their registration, those of
`call_at` never before their time, and in the order of their times. What it leaves open is drawn from the world's seed:

- which of two timers goes first that are due at the same instant ("If two callbacks are scheduled for exactly the same
  time, the order in which they are called is undefined", says the documentation of `call_later`),
- in which order a poll reports the sockets that are ready, and
- how sockets, timers and the callbacks of `call_soon` of one iteration are interleaved. (asyncio happens to call those
  of `call_soon` first, then sockets, then timers; uvloop, on which nodes run, has an order of its own.)
"""

import asyncio
import contextvars
import errno
import math
import socket
import weakref
from asyncio import base_events, selector_events
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, MutableMapping
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from simulator.errors import RealWorldReached
from simulator.poll import Poll
from simulator.trace import name_of

if TYPE_CHECKING:
    from simulator.process import Process

# The shortest and the longest time that a function takes in a thread of an executor.
THREAD_SECONDS: Final = (0.000_05, 0.005)
# The loop drops cancelled timers once it has more timers than this and more than half of them are cancelled.
_TIMERS: Final = 100


class _Handle(asyncio.Handle):
    """A handle that is made and cancelled without what only debugging needs: there are some thousand in a second."""

    __slots__ = ()

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: "VirtualLoop",
        context: contextvars.Context | None,
    ) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop, self._callback, self._args = loop, callback, args
        self._cancelled = False
        self._repr = self._source_traceback = None

    def cancel(self) -> None:
        self._cancelled, self._callback, self._args = True, None, None  # type: ignore[assignment]


class _Timer(asyncio.TimerHandle):
    """The same for a timer."""

    __slots__ = ()

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: "VirtualLoop",
        context: contextvars.Context | None,
    ) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop, self._callback, self._args = loop, callback, args
        self._cancelled, self._scheduled = False, True
        self._repr = self._source_traceback = None
        self._when = when

    def cancel(self) -> None:
        if not self._cancelled:
            if self._scheduled:
                self._loop._timer_cancelled_count += 1
            self._cancelled, self._callback, self._args = True, None, None  # type: ignore[assignment]


class NumberedFuture(asyncio.Future[Any]):
    """A future whose hash isn't its address in memory, so that a set of them has the same order in each run."""

    __slots__ = ("_number",)

    def __init__(self, *, loop: "VirtualLoop") -> None:
        self._number = next(loop.future_numbers)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class NumberedTask(asyncio.Task[Any]):
    """A task whose hash isn't its address in memory: asyncio and anyio cancel tasks in the order of a set."""

    __slots__ = ("_number", "label")

    def __init__(self, coro: Coroutine[Any, Any, Any], *, loop: "VirtualLoop", **options: Any) -> None:
        self._number = next(loop.task_numbers)
        if options.get("name") is None:  # asyncio would count all tasks of all runs
            options["name"] = f"Task-{self._number}"
        super().__init__(coro, loop=loop, **options)
        self._describe()

    def set_name(self, value: object) -> None:
        """Keep the name if there is no other: Python 3.13.0 passes on None, as it never does to its own tasks."""
        if value is not None:
            super().set_name(value)
            self._describe()

    def _describe(self) -> None:
        coroutine = self.get_coro()
        self.label = f"{self.get_name()} {getattr(coroutine, '__qualname__', type(coroutine).__qualname__)}"

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(selector_events.BaseSelectorEventLoop):
    """The loop of one simulated process. Its `process` has the clock, the sockets and the life of the process.

    `run_forever`, and with it `asyncio.Runner`, runs the whole world until this loop is stopped.
    """

    # Attributes of asyncio's loop that its type stubs don't show.
    _ready: deque[asyncio.Handle]
    _scheduled: list[tuple[float, int, asyncio.TimerHandle]]  # by time; asyncio has the timers alone
    _selector: Poll
    _stopping: bool
    _closed: bool
    _thread_id: int | None
    _timer_cancelled_count: int
    _transports: MutableMapping[int, Any]
    _executor_shutdown_called: bool
    if TYPE_CHECKING:

        def _process_events(self, event_list: list[Any]) -> None: ...
        def _check_closed(self) -> None: ...
        def _check_running(self) -> None: ...
        def _asyncgen_firstiter_hook(self, agen: AsyncGenerator[Any, Any]) -> None: ...

    def __init__(self, process: "Process") -> None:
        self.process = process
        self._order = process.world.stream(f"order of {process.name}")
        # Numbers of tasks don't depend on how many futures there are, which differs between releases of Python.
        self.task_numbers, self.future_numbers, self._timer_numbers = count(1), count(1), count(1)
        self._signals: dict[int, asyncio.Handle] = {}
        self._jobs = 0  # functions that run in threads
        self._no_jobs: asyncio.Future[None] | None = None
        self._turned = False
        self._kept: list[asyncio.Handle] = []
        super().__init__(Poll(process.descriptors, self._order, process.stir))
        self._asyncgens: Any = _OrderedWeakSet()
        self.set_debug(False)
        self.set_task_factory(_make_task)  # type: ignore[arg-type]

    def __del__(self) -> None:
        """Say nothing of a loop that was never closed: its process may have been killed."""

    # --- time and order

    def time(self) -> float:
        """Return the monotonic time of the process's machine."""
        return self.process.clock.monotonic()

    @property
    def poll(self) -> Poll:
        """What watches the sockets of this loop."""
        return self._selector

    def next_timer(self) -> float:
        """Return the time of the next timer, or infinity."""
        timers = self._scheduled
        while timers and timers[0][2]._cancelled:
            self._timer_cancelled_count -= 1
            heappop(timers)[2]._scheduled = False  # type: ignore[attr-defined]
        return timers[0][0] if timers else math.inf

    def timers(self) -> list[asyncio.TimerHandle]:
        """Return the timers that aren't cancelled."""
        return [timer for _, _, timer in self._scheduled if not timer._cancelled]

    def wakes_at(self) -> float:
        """Return the true time at which there will be something to call, which may be past, or infinity.

        The scheduler remembers the answer, and asks again once the process is stirred.
        """
        process = self.process
        when = math.inf
        if process.alive and not process.paused:
            if self._ready or self._stopping or (self._selector.maybe and self._selector.pending):
                when = process.busy_until
            else:
                timer = self.next_timer()
                if timer < math.inf:
                    when = max(process.busy_until, process.clock.true_time(timer))
        process.stirred, process.wakes_at = False, when
        return when

    def stop(self) -> None:
        """Have `run_forever` return after this iteration, or the next one."""
        super().stop()
        self.process.stir()

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Call something in the next iteration, as asyncio's loop does, without what only debugging needs."""
        if self._closed:
            self._check_closed()
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        self.process.stirred = True
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Call something at a time, likewise."""
        if self._closed:
            self._check_closed()
        timer = _Timer(when, callback, args, self, context)
        heappush(self._scheduled, (when, next(self._timer_numbers), timer))
        self.process.stirred = True
        return timer

    def turn(self, thread: int) -> None:
        """Run one iteration: poll, and call what is ready. The scheduler has made this loop the running one.

        This is what asyncio's loop does, but for the order, and without what only debugging needs. What is called makes
        other callbacks ready, which the next iteration calls.
        """
        self._turned, self._thread_id = True, thread
        try:
            if 2 * self._timer_cancelled_count > len(self._scheduled) > _TIMERS:
                self._drop_cancelled_timers()
            if self._selector.maybe or self._scheduled:
                self._make_ready()
            ready, world = self._ready, self.process.world
            if world.callbacks and world.record is not None:
                self._tell(world.record, world.now)
            for _ in range(len(ready)):
                handle = ready.popleft()
                if not handle._cancelled:
                    try:
                        handle._context.run(handle._callback, *handle._args)  # type: ignore[attr-defined]
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:
                        self._callback_failed(handle, error)
        finally:
            self._thread_id = None

    def _callback_failed(self, handle: asyncio.Handle, error: BaseException) -> None:
        """Report what a callback raised, as asyncio's handles do."""
        message = f"Exception in callback {name_of(handle._callback)}"  # type: ignore[attr-defined]
        self.call_exception_handler({"message": message, "exception": error, "handle": handle})

    def _tell(self, record: Callable[[tuple[float, str, str]], object], now: float) -> None:
        """Tell the trace what is called now."""
        name = self.process.name
        for handle in self._ready:
            if not handle._cancelled:
                callback = handle._callback  # type: ignore[attr-defined]
                owner = getattr(callback, "__self__", None)
                record((now, name, owner.label if type(owner) is NumberedTask else name_of(callback)))

    def _make_ready(self) -> None:
        """Add to the callbacks that are ready those of sockets and of timers, interleaved as it is drawn."""
        due = self._due() if self._scheduled else []
        found = self._selector.select() if self._selector.maybe else []
        if not found and not due:
            return
        ready, before = self._ready, len(self._ready)
        events = list[asyncio.Handle]()
        if found:
            self._process_events(found)
            events = [ready.pop() for _ in range(len(ready) - before)][::-1]
        happened = _interleaved(events, due, self._order.random)
        if happened and before:
            soon = list(ready)
            ready.clear()
            happened = _interleaved(soon, happened, self._order.random)
        ready.extend(happened)

    def _due(self) -> list[asyncio.Handle]:
        """Take the timers whose time has come, by time, and drawn among those of the same time."""
        process, first = self.process, self.next_timer()
        clock = process.clock
        if first == math.inf or clock.true_time(first) > process.world.now:
            return []
        clock.reach(first)
        due, now = list[asyncio.TimerHandle](), clock.monotonic()
        while self.next_timer() <= now:
            timer = heappop(self._scheduled)[2]
            timer._scheduled = False  # type: ignore[attr-defined]
            due.append(timer)
        if len(due) > 1:
            due = [one for _, _, one in sorted((one.when(), self._order.random(), one) for one in due)]
        return list[asyncio.Handle](due)

    def _drop_cancelled_timers(self) -> None:
        """Let go of timers that were cancelled, of which there are too many."""
        kept = []
        for entry in self._scheduled:
            if entry[2]._cancelled:
                entry[2]._scheduled = False  # type: ignore[attr-defined]
            else:
                kept.append(entry)
        heapify(kept)
        self._scheduled, self._timer_cancelled_count = kept, 0

    # --- running

    def run_forever(self) -> None:
        """Run the whole world until `stop` is called, or the process dies. Raises Deadlock if neither can happen."""
        self._check_closed()
        self._check_running()
        self._turned = False
        try:
            self.process.world.run(lambda: (self._stopping and self._turned) or not self.process.alive)
        finally:
            self._stopping = False
            self.process.stir()

    def drop(self) -> "list[asyncio.Task[Any]]":
        """Call nothing any more, and return what has to be kept in memory: the tasks that aren't done.

        An iteration may be under way, in which the process ended itself. It takes as many callbacks from the queue as
        there were when it began, so each is replaced by one that is cancelled, and kept for the same reason as tasks.
        """
        self._kept = list(self._ready)
        nothing = asyncio.Handle(_do_nothing, (), self)
        nothing.cancel()
        for index in range(len(self._ready)):
            self._ready[index] = nothing
        return sorted((task for task in asyncio.all_tasks(self) if not task.done()), key=hash)

    def silence(self) -> None:
        """Have transports that were open when the process ended say nothing of that once they are destroyed."""
        for transport in list(self._transports.values()):
            transport._closing, transport._sock = True, None

    def close(self) -> None:
        """Close the loop, but not the sockets, as asyncio does."""
        super().close()
        self._signals.clear()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report an error, unless the process is dead: the dead say nothing."""
        if self.process.alive:
            super().call_exception_handler(context)

    def _asyncgen_finalizer_hook(self, agen: AsyncGenerator[Any, Any]) -> None:
        """Close an abandoned generator, unless its process is dead: its `finally` then never runs."""
        if self.process.alive:
            super()._asyncgen_finalizer_hook(agen)  # type: ignore[misc]

    def _make_self_pipe(self) -> None:
        """Make nothing: no other thread ever has to wake this loop."""

    def _close_self_pipe(self) -> None:
        """Close nothing."""

    def _write_to_self(self) -> None:
        """Have the scheduler look at this loop: no other thread has to wake it."""
        self.process.stir()

    # --- futures and tasks

    def create_future(self) -> NumberedFuture:
        """Return a future with a hash of its own."""
        return NumberedFuture(loop=self)

    # --- threads

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Run a function at a drawn later time, between callbacks: whatever the executor is, there are no threads."""
        self._check_closed()
        if executor is None and self._executor_shutdown_called:
            raise RuntimeError("Executor shutdown has been called")
        result = self.create_future()
        self._jobs += 1
        self.process.in_thread(self._order.uniform(*THREAD_SECONDS), lambda: self._run_job(result, func, args))
        return result

    def _run_job(self, result: "asyncio.Future[Any]", func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        outcome, error = None, None
        try:  # also if the result was cancelled: a real thread would have begun at once
            outcome = func(*args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as raised:
            error = raised
        if not self.is_closed():
            self.call_soon_threadsafe(self._end_job, result, outcome, error)

    def _end_job(self, result: "asyncio.Future[Any]", outcome: object, error: BaseException | None) -> None:
        self._jobs -= 1
        if not self._jobs and self._no_jobs is not None and not self._no_jobs.done():
            self._no_jobs.set_result(None)
        if result.cancelled():
            return
        if error is None:
            result.set_result(outcome)
        elif isinstance(error, StopIteration):  # a future can't hold one
            result.set_exception(RuntimeError("the function raised StopIteration"))
        else:
            result.set_exception(error)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait until all functions have ended that run in threads."""
        self._executor_shutdown_called = True
        if self._jobs:
            self._no_jobs = self.create_future()
            await asyncio.wait([self._no_jobs], timeout=timeout)

    # --- signals

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:  # type: ignore[override]
        """Remember what to call when `Process.signal` sends this signal."""
        self._check_closed()
        if asyncio.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        self._signals[int(sig)] = asyncio.Handle(callback, args, self, None)

    def remove_signal_handler(self, sig: int) -> bool:
        """Forget the handler of a signal. Returns whether there was one."""
        return self._signals.pop(int(sig), None) is not None

    def handle_signal(self, number: int) -> bool:
        """Call the handler of a signal soon. Returns whether there is one."""
        handle = self._signals.get(number)
        if handle is None or self.is_closed():
            return False
        self._ready.append(handle)
        self.process.stir()
        return True

    # --- sockets

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Ask the name server of the virtual network."""
        return await self.process.kernel.getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)

    async def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int = 0) -> tuple[str, str]:
        """Return address and port as they are: no address of the virtual network has a name."""
        return str(sockaddr[0]), str(sockaddr[1])

    async def _connect_sock(self, exceptions: list[Any], addr_info: Any, local_addr_infos: Any = None) -> Any:
        """Make a virtual socket and connect it. asyncio's `create_connection` calls this for each address."""
        failed = list[OSError]()
        exceptions.append(failed)
        family, kind, proto, _, address = addr_info
        sock = self.process.kernel.socket(family, kind, proto)
        try:
            if local_addr_infos is not None:
                _bind_to_one(sock, [info for info in local_addr_infos if info[0] == family])
            await self.sock_connect(sock, address)
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                failed.append(error)
            raise
        return sock

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | Iterable[str] | None = None,
        port: int | None = None,
        *,
        family: int = socket.AF_UNSPEC,
        flags: int = socket.AI_PASSIVE,
        sock: Any = None,
        backlog: int = 100,
        start_serving: bool = True,
        **options: Any,
    ) -> asyncio.Server:
        """Listen on virtual sockets, as asyncio's loop does on real ones."""
        if sock is not None:
            options |= {"sock": sock, "backlog": backlog, "start_serving": start_serving}
            return await super().create_server(protocol_factory, **options)
        hosts = [host] if host is None or isinstance(host, str) else list(host)
        infos = dict[Any, None]()
        for one in hosts:
            found = await self.getaddrinfo(one or None, port, family=family, type=socket.SOCK_STREAM, flags=flags)
            infos.update(dict.fromkeys(found))
        sockets = list[Any]()
        try:
            for info in infos:
                sockets.append(self.process.kernel.socket(*info[:3]))
                sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sockets[-1].bind(info[4])
        except BaseException:
            for opened in sockets:
                opened.close()
            raise
        server = base_events.Server(self, sockets, protocol_factory, None, backlog, None)
        if start_serving:
            await server.start_serving()
        return server

    # --- what would reach the real world

    async def subprocess_exec(self, *args: Any, **options: Any) -> Any:
        """Refuse: simulated processes don't start real ones."""
        raise RealWorldReached("a simulated process can't start a real one")

    async def subprocess_shell(self, *args: Any, **options: Any) -> Any:
        """Refuse, as `subprocess_exec`."""
        raise RealWorldReached("a simulated process can't start a real one")

    async def connect_read_pipe(self, *args: Any) -> Any:
        """Refuse: pipes are real."""
        raise RealWorldReached("the virtual network has no pipes")

    async def connect_write_pipe(self, *args: Any) -> Any:
        """Refuse: pipes are real."""
        raise RealWorldReached("the virtual network has no pipes")

    async def create_unix_connection(self, *args: Any, **options: Any) -> Any:
        """Refuse: paths are real."""
        raise RealWorldReached("the virtual network has no Unix sockets")

    async def create_unix_server(self, *args: Any, **options: Any) -> Any:
        """Refuse: paths are real."""
        raise RealWorldReached("the virtual network has no Unix sockets")

    async def create_datagram_endpoint(self, *args: Any, **options: Any) -> Any:
        """Refuse: the virtual network has TCP only."""
        raise RealWorldReached("the virtual network has no datagrams")


def _do_nothing() -> None:
    """Stand for a callback of a process that has ended."""


def _make_task(loop: VirtualLoop, coro: Coroutine[Any, Any, Any], **options: Any) -> NumberedTask:
    return NumberedTask(coro, loop=loop, **options)


def _interleaved(
    some: list[asyncio.Handle], others: list[asyncio.Handle], draw: Callable[[], float]
) -> list[asyncio.Handle]:
    """Merge two lists at random, but keep the order of each."""
    if not some or not others:
        return some or others
    merged, first, second = list[asyncio.Handle](), deque(some), deque(others)
    while first and second:
        merged.append((first if draw() * (len(first) + len(second)) < len(first) else second).popleft())
    return [*merged, *first, *second]


def _bind_to_one(sock: Any, infos: list[Any]) -> None:
    """Bind a socket to the first local address that is possible. Raises OSError."""
    failure = OSError(errno.EADDRNOTAVAIL, "no local address of this family")
    for info in infos:
        try:
            sock.bind(info[4])
        except OSError as error:
            failure = error
        else:
            return
    raise failure


class _OrderedWeakSet:
    """As much of a `WeakSet` as asyncio needs for its generators, but in the order of arrival."""

    def __init__(self) -> None:
        self._members: dict[int, weakref.ref[Any]] = {}

    def add(self, member: Any) -> None:
        key = id(member)
        self._members[key] = weakref.ref(member, lambda _: self._members.pop(key, None))

    def discard(self, member: Any) -> None:
        self._members.pop(id(member), None)

    def clear(self) -> None:
        self._members.clear()

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Any]:
        return iter([member for one in list(self._members.values()) if (member := one()) is not None])
