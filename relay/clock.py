"""The clock by which a node measures its lease and everything that depends on it."""

import time
from typing import Final


def clock() -> float:
    """Seconds of a clock that never steps, and where it can that counts a machine's sleep too."""
    return read_clock(CLOCK_ID)


read_clock = time.clock_gettime
CLOCK_ID: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
