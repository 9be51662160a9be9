"""A long look at many things, with turns of the loop for everyone else in between."""

from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

from anyio.lowlevel import checkpoint

T = TypeVar("T")


async def in_slices(many: Iterable[T], size: int) -> AsyncIterator[T]:
    """Each of them, `size` in one turn of the loop."""
    for number, one in enumerate(many, 1):
        yield one
        if not number % size:
            await checkpoint()
