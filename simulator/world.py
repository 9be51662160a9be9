"""The scheduler: one virtual time, one source of randomness, and all processes of a simulation."""

import asyncio
import gc
import random
import sys
import threading
import warnings
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from typing import Any, Final

from simulator.clock import EPOCH, Clock
from simulator.errors import Deadlock, Livelock, RealWorldReached, SimulationError
from simulator.guard import Substitutes, guarded
from simulator.process import Kernel, Process
from simulator.trace import Trace, TraceHash, name_of

NEVER: Final = float("inf")
# The number of steps without any time passing after which a run is given up.
STEPS_AT_ONE_INSTANT: Final = 1_000_000
# The number of steps between two runs of the garbage collector, which otherwise begins whenever it likes: what it
# destroys may call back, and that has to happen at the same point of each run. It is a multiple of STEPS_PER_LOOK.
STEPS_PER_COLLECTION: Final = 20_000
# The number of steps between two looks of a harness at everything. What it looks at changes slowly.
STEPS_PER_LOOK: Final = 160


class Event:
    """Something that will happen in the world, outside of all processes: what `act` does, unless it is cancelled."""

    __slots__ = ("act",)

    def __init__(self, act: Callable[[], None]) -> None:
        self.act: Callable[[], None] | None = act

    def cancel(self) -> None:
        """Have it not happen."""
        self.act = None


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
        # Takes an event for the trace. A function of Python for each would cost a twentieth of the time of a run.
        self.record: Callable[[tuple[float, str, str]], object] | None = None
        if trace is not None:
            self.record = trace.fresh.append if isinstance(trace, TraceHash) else lambda event: trace(*event)
        self.callbacks = callbacks
        self.now = 0.0  # the true time: seconds since the world began
        self.steps = 0
        self.current: Process | None = None  # the process whose code runs
        self.processes: list[Process] = []  # those that live, in the order of their starts
        self._dead: list[Process] = []
        # A heap of events by their time, a number that is drawn for those of the same time, and one that no other has.
        self._events: list[tuple[float, float, int, Event]] = []
        self._numbers = 0
        self._since = 0  # the number of steps when time last passed
        self._draw = self.stream("schedule").random
        self.in_sets = tuple(in_sets)
        self.reached: RealWorldReached | None = None  # the first attempt of a program to reach the real world
        self.substitutes = Substitutes(self)
        self.looks: Callable[[], object] | None = None  # is called after every STEPS_PER_LOOK steps
        self._running = False
        self._limit = NEVER
        self._thread = 0
        self._hooks = sys.get_asyncgen_hooks()  # outside of all loops
        self._generators: dict[int, Process] = {}  # by its id: whose an asynchronous generator is

    @property
    def time_of_day(self) -> float:
        """The true seconds since 1970."""
        return EPOCH + self.now

    # --- randomness

    def stream(self, name: str) -> random.Random:
        """Return a random source that depends on the seed and this name alone: no other draws move it."""
        return random.Random(f"{self.seed} {name}")

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
        event = Event(act)
        self._numbers += 1
        heappush(self._events, (when if when > self.now else self.now, self._draw(), self._numbers, event))
        return event

    def call_in(self, seconds: float, act: Callable[[], None]) -> Event:
        """Have something happen in so many seconds."""
        return self.call_at(self.now + seconds, act)

    def note(self, where: str, what: str) -> None:
        """Tell the trace of something, in words."""
        if self.record is not None:
            self.record((self.now, where, what))

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
                sys.set_asyncgen_hooks(self._generator_begins, self._generator_is_abandoned)
                while not until():
                    if not self._step():
                        return until()
                    if self.reached is not None:
                        raise self.reached
            return True
        finally:
            self._running = False
            sys.set_asyncgen_hooks(*self._hooks)
            if collecting:
                gc.enable()

    def run_for(self, seconds: float) -> None:
        """Run for so many seconds, whether or not anything happens."""
        self.run(lambda: False, seconds)

    def _step(self) -> bool:
        """Let one thing happen: an iteration of a loop, or an event. Returns False at the time limit.

        It is drawn from all that is due. If nothing is, time first jumps to what will be due next.
        """
        now, first, chosen = self.now, NEVER, None
        rivals: list[Process | None] | None = None  # all that is due at `first`, if that is more than one thing
        for process in self.processes:
            when = process.loop.wakes_at() if process.stirred else process.wakes_at
            if when < now:
                when = now
            if when < first:
                first, chosen, rivals = when, process, None
            elif when == first < NEVER:
                rivals = [*(rivals or (chosen,)), process]
        events = self._events
        while events and events[0][3].act is None:
            heappop(events)
        if events:
            when = events[0][0]
            if when < first:
                first, chosen, rivals = when, None, None
            elif when == first:
                rivals = [*(rivals or (chosen,)), None]
        if first > now and not self._jump(first):
            return False
        self.steps += 1
        if rivals is not None:
            chosen = rivals[int(self._draw() * len(rivals))]
        if chosen is not None:
            self._turn(chosen)
        else:
            self._happen(heappop(events)[3])
        if self.steps % STEPS_PER_LOOK == 0:
            self._keep_house()
        if self.steps - self._since > STEPS_AT_ONE_INSTANT:
            raise Livelock(f"no time passes at {self.now:.6f} s:\n{self._state()}")
        return True

    def _keep_house(self) -> None:
        """Let the harness look, hash the trace, and collect garbage after its own number of steps."""
        if self.looks is not None:
            self.looks()
        if isinstance(self.trace, TraceHash):
            self.trace.catch_up()
        if self.steps % STEPS_PER_COLLECTION == 0:
            gc.collect(1)

    def _happen(self, event: Event) -> None:
        act, event.act = event.act, None
        assert act is not None
        act()
        if self.record is not None:
            self.record((self.now, "world", name_of(act)))

    def _turn(self, process: Process) -> None:
        loop = process.loop
        asyncio._set_running_loop(loop)
        self.current = process
        try:
            loop.turn(self._thread)
        except SystemExit as error:
            process.exit(error)
        finally:
            process.stirred = True
            self.current = None
            asyncio._set_running_loop(None)

    def _generator_begins(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Tell the loop of the process whose code runs, as its own hook would: to change hooks in each turn is slow."""
        process = self.current
        if process is not None:
            self._generators[id(generator)] = process  # replaces one that ended, and was at this address
            process.loop._asyncgen_firstiter_hook(generator)

    def _generator_is_abandoned(self, generator: AsyncGenerator[Any, Any]) -> None:
        process = self._generators.pop(id(generator), None)
        if process is not None:
            process.loop._asyncgen_finalizer_hook(generator)

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
