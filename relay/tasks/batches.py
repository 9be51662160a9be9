"""Long iterations that yield to the event loop in between, so that other tasks run."""

from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from anyio.lowlevel import checkpoint

T = TypeVar("T")


async def slices(many: Sequence[T], size: int) -> AsyncIterator[Sequence[T]]:
    """Yield slices of up to `size` items, one in each iteration of the event loop."""
    for start in range(0, len(many), size):
        yield many[start : start + size]
        await checkpoint()


async def in_slices(many: Sequence[T], size: int) -> AsyncIterator[T]:
    """Yield single items, up to `size` of them in each iteration of the event loop."""
    async for some in slices(many, size):
        for one in some:
            yield one
