"""A simulated process, which can be killed and stopped: a loop, its tasks, its sockets, and its machine's clock."""

import asyncio
import math
import signal
from collections.abc import Callable, Coroutine, MutableMapping
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

from simulator.clock import Clock
from simulator.errors import RealWorldReached
from simulator.loop import VirtualLoop

if TYPE_CHECKING:
    from simulator.world import World


class Kernel(Protocol):
    """What the operating system does for one process: the virtual network implements it."""

    @property
    def descriptors(self) -> MutableMapping[int, Any]:
        """The open sockets by their numbers."""

    def socket(self, family: int, type: int, proto: int = 0) -> Any:
        """Return a new socket."""

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int,
        type: int,
        proto: int,
        flags: int,
    ) -> list[Any]:
        """Look up a name, which takes virtual time. Raises OSError."""

    def close_all(self) -> None:
        """Close everything because the process has ended."""


class Process:
    """A process with one loop. `World.process` and `Host.process` make them.

    Its callbacks run only while it is alive, isn't paused and doesn't stall. Once it is killed nothing of it ever runs
    again: no callback, no `finally`, no destructor of a coroutine. What it had in memory stays there, untouched, until
    the world is closed.
    """

    def __init__(self, world: "World", name: str, clock: Clock, kernel: Kernel | None = None) -> None:
        self.world = world
        self.name = name
        self.clock = clock
        self.alive = True
        self.paused = False
        self.busy_until = -math.inf  # no callback runs before this time: see `stall`
        self.result: Any = None  # what `main` returned
        self.error: BaseException | None = None  # what `main` raised
        self.exits: list[Callable[[Process], object]] = []  # are called once the process has ended, however it ended
        # Whether `wakes_at` may be too late, as something has happened that the process might react to.
        self.stirred = True
        self.wakes_at = math.inf  # when its loop will have something to call, as `VirtualLoop.wakes_at` said
        clock.changed.append(self.stir)
        self._kernel = kernel
        self._main: asyncio.Task[Any] | None = None  # asyncio itself keeps no task in memory
        self._kept: list[asyncio.Task[Any]] = []  # that weren't done when the process ended
        self._withheld: list[Callable[[], None]] = []  # what its threads would have done while it was paused
        self.loop = VirtualLoop(self)

    def __repr__(self) -> str:
        state = "killed or ended" if not self.alive else "paused" if self.paused else "alive"
        return f"<Process {self.name} {state}>"

    @property
    def kernel(self) -> Kernel:
        """The process's way to the virtual network. Raises RealWorldReached if it has none."""
        if self._kernel is None:
            raise RealWorldReached(f"{self.name} is on no virtual host, and may not use the real network")
        return self._kernel

    @property
    def descriptors(self) -> MutableMapping[int, Any]:
        """The open sockets by their numbers."""
        return self._kernel.descriptors if self._kernel is not None else {}

    def stir(self) -> None:
        """Have the scheduler ask the loop anew when it will have something to call."""
        self.stirred = True

    # --- life

    def start(self, main: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Begin to run `main(*args)` in an empty context. When it ends, all ends as with `asyncio.run`."""
        context = Context()

        def begin() -> None:
            self._main = self.loop.create_task(main(*args), context=context)
            self._main.add_done_callback(self._main_done, context=context)

        self.loop.call_soon(begin, context=context)

    def _main_done(self, main: "asyncio.Task[Any]") -> None:
        self._main = None
        if main.cancelled():
            self.error = asyncio.CancelledError()
        else:
            self.error = main.exception()
            self.result = None if self.error is not None else main.result()
        self.loop.create_task(self._wind_up(), name="wind up")

    async def _wind_up(self) -> None:
        """Cancel what is left, as `asyncio.Runner` does, and end the process."""
        loop = self.loop
        left = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for task in left:
            if not task.cancelled() and task.exception() is not None:
                message = "unhandled exception during the end of a process"
                loop.call_exception_handler({"message": message, "exception": task.exception(), "task": task})
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()
        loop.call_soon(self._end)

    def exit(self, error: BaseException) -> None:
        """End at once because a callback has raised SystemExit."""
        self.error = error
        self._end()

    def kill(self) -> None:
        """End the process at once, as SIGKILL does: the kernel closes its sockets, and nothing of it runs any more."""
        if self.alive:
            self.world.note(self.name, "killed")
            self._end()

    def vanish(self) -> None:
        """End the process without a word to anybody, as when its machine loses power: not to its peers, nor `exits`."""
        self.alive, self.stirred = False, True
        self._kept = self.loop.drop()
        self.world.ended(self)

    def _end(self) -> None:
        self.vanish()
        if self._kernel is not None:
            self._kernel.close_all()
        for tell in self.exits:
            tell(self)

    def pause(self) -> None:
        """Withhold all callbacks, as SIGSTOP does. Its kernel goes on: connections are accepted, bytes are received."""
        self.paused, self.stirred = True, True
        self.world.note(self.name, "paused")

    def resume(self) -> None:
        """Go on after `pause`. Timers that are overdue are called at once, in the order of their times."""
        self.paused, self.stirred = False, True
        self.world.note(self.name, "resumed")
        withheld, self._withheld = self._withheld, []
        for job in withheld:
            self.world.call_in(0, lambda job=job: self._in_thread(job))  # type: ignore[misc]

    def stall(self, seconds: float) -> None:
        """Let time pass without a callback, as a slow one does, or a machine that has other things to do."""
        self.busy_until, self.stirred = max(self.busy_until, self.world.now + seconds), True
        self.world.note(self.name, f"stalls for {seconds:.6f} s")

    def signal(self, number: int) -> None:
        """Send a signal: its handler is called, and without one most signals end the process."""
        if not self.alive:
            return
        match number:
            case signal.SIGKILL:
                self.kill()
            case signal.SIGSTOP:
                self.pause()
            case signal.SIGCONT:
                self.resume()
            case _ if self.loop.handle_signal(number) or number in (signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH):
                self.world.note(self.name, f"gets {signal.Signals(number).name}")
            case _:
                self.kill()

    # --- what the scheduler and the loop need

    def in_thread(self, seconds: float, job: Callable[[], None]) -> None:
        """Do something in so many seconds as a thread of this process would, unless it is dead by then."""
        self.world.call_in(seconds, lambda: self._in_thread(job))

    def _in_thread(self, job: Callable[[], None]) -> None:
        if not self.alive:
            return
        if self.paused:
            self._withheld.append(job)
            return
        with self.world.acting(self):
            job()

    def pending_tasks(self) -> "list[asyncio.Task[Any]]":
        """Return the tasks that aren't done, in the order in which they were made."""
        return sorted((task for task in asyncio.all_tasks(self.loop) if not task.done()), key=hash)

    @property
    def unfinished(self) -> bool:
        """Whether it had tasks that weren't done when it ended."""
        return bool(self._kept)

    def bury(self) -> None:
        """Let go of what the dead process had in memory. `World.close` calls this, when nobody looks any more.

        Python runs the `finally` blocks of a coroutine that it destroys, and nothing can prevent that. It is therefore
        put off until nothing is observed any more, and done here, where what they raise can be dropped.
        """
        for task in self._kept:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            _close(task.get_coro())
        self._kept.clear()
        self.loop.silence()
        if not self.loop.is_closed():
            self.loop.close()


def _close(coroutine: Any, attempts: int = 100) -> None:
    """Close a coroutine, also one that awaits something in `finally`, which has to be closed again."""
    for _ in range(attempts):
        with suppress(BaseException):
            coroutine.close()
            return
