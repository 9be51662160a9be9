"""The scheduler: one virtual time, one source of randomness, and all processes of a simulation."""

import asyncio
import gc
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from typing import Any, Final

from simulator.clock import EPOCH, Clock
from simulator.errors import Deadlock, Livelock, RealWorldReached, SimulationError
from simulator.guard import Substitutes, guarded
from simulator.process import Kernel, Process
from simulator.trace import Trace, name_of

NEVER: Final = float("inf")
# The number of steps without any time passing after which a run is given up.
STEPS_AT_ONE_INSTANT: Final = 1_000_000
# The number of steps between two runs of the garbage collector, which otherwise begins whenever it likes: what it
# destroys may call back, and that has to happen at the same point of each run.
STEPS_PER_COLLECTION: Final = 20_000


class Event:
    """Something that will happen in the world, outside of all processes."""

    __slots__ = ("_act", "_drawn", "_number", "cancelled", "when")

    def __init__(self, when: float, drawn: float, number: int, act: Callable[[], None]) -> None:
        self.when = when
        self.cancelled = False
        self._drawn = drawn
        self._number = number
        self._act: Callable[[], None] | None = act

    def __lt__(self, other: "Event") -> bool:
        return (self.when, self._drawn, self._number) < (other.when, other._drawn, other._number)

    def cancel(self) -> None:
        """Have it not happen."""
        self.cancelled = True
        self._act = None

    def happen(self) -> str:
        """Let it happen, once, and return its name."""
        act, self._act = self._act, None
        assert act is not None
        act()
        return name_of(act)


class World:
    """One simulation. The same seed, with the same programs, is the same history.

    Args:
        seed: where all randomness comes from, through `stream`.
        trace: is told of everything that happens in the network and to processes.
        callbacks: tell the trace of each callback of each process as well. What one release of Python does in one
            callback, another may do in two, so only a trace without them is the same on all.
        in_sets: classes of objects that programs keep in sets and iterate over. Their hash, which is their address in
            memory, becomes a number, so that the order is the same in each run.
    """

    def __init__(
        self, seed: int | str = 0, trace: Trace | None = None, in_sets: Iterable[type] = (), *, callbacks: bool = True
    ) -> None:
        self.seed = seed
        self.trace = trace
        self.callbacks = callbacks
        self.now = 0.0  # the true time: seconds since the world began
        self.steps = 0
        self.current: Process | None = None  # the process whose code runs
        self.processes: list[Process] = []  # those that live, in the order of their starts
        self._dead: list[Process] = []
        self._events: list[Event] = []
        self._numbers = 0
        self._since = 0  # the number of steps when time last passed
        self._schedule = self.stream("schedule")
        self.in_sets = tuple(in_sets)
        self.reached: RealWorldReached | None = None  # the first attempt of a program to reach the real world
        self.substitutes = Substitutes(self)
        self._running = False
        self._limit = NEVER
        self._thread = 0
        self._hooks = sys.get_asyncgen_hooks()  # outside of all loops

    @property
    def time_of_day(self) -> float:
        """The true seconds since 1970."""
        return EPOCH + self.now

    # --- randomness

    def stream(self, name: str) -> random.Random:
        """Return a random source that depends on the seed and this name alone: no other draws move it."""
        return random.Random(f"{self.seed} {name}")

    def next_number(self) -> int:
        """Return 1, 2, 3 …, each once."""
        self._numbers += 1
        return self._numbers

    # --- processes and events

    def process(self, name: str, clock: Clock | None = None, kernel: Kernel | None = None) -> Process:
        """Return a new process. Without a kernel it can't use the network; `Host.process` makes one that can."""
        process = Process(self, name, clock if clock is not None else self.clock(), kernel)
        self.processes.append(process)
        return process

    def clock(self, booted: float = 0.0) -> Clock:
        """Return a new clock that is right."""
        return Clock(lambda: self.now, booted)

    def ended(self, process: Process) -> None:
        """Never run this process again, and keep what it has in memory until `close`."""
        if process in self.processes:
            self.processes.remove(process)
            self._dead.append(process)

    def call_at(self, when: float, act: Callable[[], None]) -> Event:
        """Have something happen at a true time, outside of all processes: in the network, say."""
        event = Event(max(when, self.now), self._schedule.random(), self.next_number(), act)
        heappush(self._events, event)
        return event

    def call_in(self, seconds: float, act: Callable[[], None]) -> Event:
        """Have something happen in so many seconds."""
        return self.call_at(self.now + seconds, act)

    def note(self, where: str, what: str) -> None:
        """Tell the trace of something, in words."""
        if self.trace is not None:
            self.trace(self.now, where, what)

    # --- running

    def run(self, until: Callable[[], bool], seconds: float | None = None) -> bool:
        """Run until `until` returns true, or for so many seconds. Returns whether it did.

        Raises Deadlock if nothing can happen any more, without a time limit, and Livelock if time stands still.
        """
        if self._running:
            raise SimulationError("the world runs already")
        self._running, self._since = True, self.steps
        self._limit = NEVER if seconds is None else self.now + seconds
        self._thread, self._hooks = threading.get_ident(), sys.get_asyncgen_hooks()
        collecting = gc.isenabled()
        gc.disable()
        try:
            with guarded(self):
                while not until():
                    if not self._step():
                        return until()
                    if self.reached is not None:
                        raise self.reached
            return True
        finally:
            self._running = False
            if collecting:
                gc.enable()

    def run_for(self, seconds: float) -> None:
        """Run for so many seconds, whether or not anything happens."""
        self.run(lambda: False, seconds)

    def _step(self) -> bool:
        """Let one thing happen: an iteration of a loop, or an event. Returns False at the time limit.

        It is drawn from all that is due. If nothing is, time first jumps to what will be due next.
        """
        events, whom = self._events, list[Process | None](self.processes)
        while events and events[0].cancelled:
            heappop(events)
        times = [one.loop.wakes_at() for one in self.processes]
        if events:
            whom.append(None)
            times.append(events[0].when)
        first = min(times, default=NEVER)
        if first > self.now and not self._jump(first):
            return False
        now = self.now
        due = [one for one, time in zip(whom, times, strict=True) if time <= now]
        self.steps += 1
        chosen = due[0] if len(due) == 1 else due[int(self._schedule.random() * len(due))]
        if chosen is not None:
            self._turn(chosen)
        else:
            self.note("world", heappop(events).happen())
        if self.steps % STEPS_PER_COLLECTION == 0:
            gc.collect(1)
        if self.steps - self._since > STEPS_AT_ONE_INSTANT:
            raise Livelock(f"no time passes at {now:.6f} s:\n{self._state()}")
        return True

    def _turn(self, process: Process) -> None:
        loop = process.loop
        timer = loop.next_timer()
        if process.clock.true_time(timer) <= self.now:
            process.clock.reach(timer)
        sys.set_asyncgen_hooks(loop._asyncgen_firstiter_hook, loop._asyncgen_finalizer_hook)
        asyncio._set_running_loop(loop)
        self.current = process
        try:
            loop.turn(self._thread)
        except SystemExit as error:
            process.exit(error)
        finally:
            self.current = None
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*self._hooks)

    @contextmanager
    def acting(self, process: Process) -> Iterator[None]:
        """Make this the process whose code runs, and whose clock a program sees."""
        before, self.current = self.current, process
        try:
            yield
        finally:
            self.current = before

    def _jump(self, then: float) -> bool:
        """Let time pass until something is due. Returns False at the time limit."""
        if then > self._limit:
            self.now = self._limit
            return False
        if then == NEVER:
            raise Deadlock(f"nothing can happen any more at {self.now:.6f} s:\n{self._state()}")
        self.now, self._since = then, self.steps
        return True

    def _state(self) -> str:
        """Return what each process waits for."""
        lines = []
        for process in self.processes:
            lines.append(f"  {process!r}")
            lines += [f"    {task!r}" for task in process.pending_tasks()]
        return "\n".join(lines) or "  there are no processes"

    # --- the end

    def close(self) -> None:
        """End the world: all processes die, and what they had in memory is let go of, silently."""
        for process in list(self.processes):
            process.vanish()
        dead, self._dead = self._dead, []
        self._events.clear()
        hook, sys.unraisablehook = sys.unraisablehook, _heed_nothing
        try:
            with warnings.catch_warnings(), guarded(self):
                warnings.simplefilter("ignore")
                unfinished = False
                for process in dead:
                    unfinished |= process.unfinished
                    with self.acting(process):
                        asyncio._set_running_loop(process.loop)
                        try:
                            process.bury()
                        finally:
                            asyncio._set_running_loop(None)
                dead.clear()
                if unfinished:  # what is in cycles has to go now, while nothing is said about it
                    del process
                    gc.collect()
        finally:
            sys.unraisablehook = hook

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _heed_nothing(_: Any) -> None:
    """Drop what the destructors of the dead raise."""
