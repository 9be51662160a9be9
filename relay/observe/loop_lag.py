"""Measures the lag of the event loop with a timer that fires ten times a second."""

from typing import Final

import anyio

from relay.clock import clocks
from relay.metrics import Counts

BEAT_SECONDS: Final = 0.1


async def watch_loop(counts: Counts) -> None:
    """Record by how much each timer is late. A call that blocks the loop shows once. Never returns."""
    while True:
        due = clocks.monotonic() + BEAT_SECONDS
        await anyio.sleep(BEAT_SECONDS)
        counts.loop_lag.observe(max(0.0, clocks.monotonic() - due))
