"""The clocks of a process. All code reads the time here, so that the simulator can give it another time.

Timers run by the loop's clock, which belongs to `asyncio` and `anyio`.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final


class Clocks:
    """The functions that read the clocks. If one is replaced, all callers read the new clock from then on.

    Call them as `clocks.wall()`: a copy of the function that was taken earlier would go on reading the old clock.
    """

    __slots__ = ("lease", "monotonic", "wall")

    lease: Callable[[], float]  # seconds of a clock that never steps, and counts the sleep of the machine if it can
    monotonic: Callable[[], float]  # seconds of a clock that never steps
    wall: Callable[[], float]  # Unix time in seconds, which may step

    def __init__(self) -> None:
        self.lease = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
        self.monotonic = time.monotonic
        self.wall = time.time


clocks: Final = Clocks()


def clock() -> float:
    """Return the seconds of the clock for a node's lease and all times that depend on it."""
    return clocks.lease()
