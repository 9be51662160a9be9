"""The clocks of a process. Whatever else wants to know the time asks here, so that it can be had from elsewhere.

`asyncio` and `anyio` have the loop's clock, by which timers run.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final


class Clocks:
    """The functions that read the clocks. They may be replaced, which counts for all callers from then on.

    Read them where they are called (`clocks.wall()`): a copy that was taken earlier goes on reading the old clock.
    """

    __slots__ = ("lease", "monotonic", "wall", "wall_ns")

    lease: Callable[[], float]  # seconds of a clock that never steps, and counts the sleep of the machine if it can
    monotonic: Callable[[], float]  # seconds of a clock that never steps
    wall: Callable[[], float]  # Unix time in seconds, which may step
    wall_ns: Callable[[], int]  # Unix time in nanoseconds

    def __init__(self) -> None:
        self.lease = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
        self.monotonic = time.monotonic
        self.wall = time.time
        self.wall_ns = time.time_ns


clocks: Final = Clocks()


def clock() -> float:
    """Return the seconds of the clock for a node's lease and all times that depend on it."""
    return clocks.lease()
