"""Waiting for what no event tells of: other processes, and what many users have come to."""

from collections.abc import Callable
from typing import Final

import anyio

LOOK_SECONDS: Final = 0.02


async def until(true: Callable[[], bool], seconds: float | None = None) -> bool:
    """Wait for it, for so many seconds at most. Returns whether it is true."""
    with anyio.move_on_after(seconds):
        while not true():  # noqa: ASYNC110  whatever it is, nobody tells of it
            await anyio.sleep(LOOK_SECONDS)
    return true()
