"""Waits for conditions without an event, such as the state of other processes or of many users."""

from collections.abc import Callable
from typing import Final

import anyio

POLL_SECONDS: Final = 0.02


async def until(true: Callable[[], bool], seconds: float | None = None) -> bool:
    """Wait for a condition, for at most `seconds`. Returns whether it is true."""
    with anyio.move_on_after(seconds):
        while not true():  # noqa: ASYNC110  there is no event for the condition
            await anyio.sleep(POLL_SECONDS)
    return true()
