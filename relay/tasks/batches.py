"""A long look at many things, with turns of the loop for everyone else in between."""

from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from anyio.lowlevel import checkpoint

T = TypeVar("T")


async def slices(many: Sequence[T], size: int) -> AsyncIterator[Sequence[T]]:
    """All of them, `size` at once, one slice in a turn of the loop."""
    for start in range(0, len(many), size):
        yield many[start : start + size]
        await checkpoint()


async def in_slices(many: Sequence[T], size: int) -> AsyncIterator[T]:
    """Each of them, `size` in one turn of the loop."""
    async for some in slices(many, size):
        for one in some:
            yield one
