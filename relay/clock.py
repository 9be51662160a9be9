"""The clock for a node's lease and all times that depend on it."""

import time
from typing import Final


def clock() -> float:
    """Return the seconds of a clock that never steps, and that includes the machine's sleep if the system allows it."""
    return read_clock(CLOCK_ID)


read_clock = time.clock_gettime
CLOCK_ID: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
