"""How late the loop is: a timer that rings ten times a second, and by how much it was late."""

import time
from typing import Final

import anyio

from relay.metrics import Counts

BEAT_SECONDS: Final = 0.1


async def watch_loop(counts: Counts) -> None:
    """For ever: note how much later than asked for a timer rings. Whatever holds the loop shows, once."""
    while True:
        due = time.perf_counter() + BEAT_SECONDS
        await anyio.sleep(BEAT_SECONDS)
        counts.loop_lag.observe(max(0.0, time.perf_counter() - due))
