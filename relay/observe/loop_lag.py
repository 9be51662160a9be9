"""Measures the lag of the event loop with a timer that fires ten times a second."""

import time
from typing import Final

import anyio

from relay.metrics import Counts

BEAT_SECONDS: Final = 0.1


async def watch_loop(counts: Counts) -> None:
    """Record by how much each timer is late. A call that blocks the loop shows once. Never returns."""
    while True:
        due = time.perf_counter() + BEAT_SECONDS
        await anyio.sleep(BEAT_SECONDS)
        counts.loop_lag.observe(max(0.0, time.perf_counter() - due))
