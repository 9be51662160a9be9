"""Memory that is free again goes back to the system: the C library keeps it for itself, as one block in use is enough.

A crowd of half lines, or of sessions, would leave a node as large as it once was for as long as it runs. With a C
library other than glibc (2.33 or later) nothing is done.
"""

import ctypes
from collections.abc import Callable
from typing import Final

import anyio
from anyio import to_thread

LOOK_SECONDS: Final = 2.0
# Given back at once: it takes a tenth of a second for a gigabyte, in a thread, and whoever needs much waits for it.
WORTH_BYTES: Final = 32 * 1024 * 1024
# Less is given back too, if it isn't used again: a crowd that goes slowly would leave up to the above behind.
REST_BYTES: Final = 4 * 1024 * 1024
REST_LOOKS: Final = 5


class _Info(ctypes.Structure):
    """`struct mallinfo2` of <malloc.h>."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keep",
        )
    )


def _find() -> tuple[Callable[[], int], Callable[[], object]] | None:
    library = ctypes.CDLL(None)
    try:
        info, trim = library.mallinfo2, library.malloc_trim
    except AttributeError:
        return None
    info.restype = _Info
    trim.argtypes = (ctypes.c_size_t,)
    return lambda: int(info().fordblks), lambda: trim(0)


class Heap:
    """What the C library has. `free()`: bytes that nobody uses, given back or not. `give_back()`: give all of them."""

    def __init__(self, free: Callable[[], int], give_back: Callable[[], object]) -> None:
        self._free, self._give_back = free, give_back
        self._least = 0  # that was free since the last time
        self._looks = 0  # that have found a rest, one after the other

    def look(self) -> None:
        """Give back what has become free, if it is worth it."""
        free = self._free()
        self._least = min(self._least, free)
        freed = free - self._least
        self._looks = self._looks + 1 if freed >= REST_BYTES else 0
        if freed >= WORTH_BYTES or self._looks >= REST_LOOKS:
            self._least, self._looks = free, 0
            self._give_back()


async def mind_heap() -> None:
    """For as long as the node lives."""
    found = _find()
    if found is None:
        return
    heap = Heap(*found)
    while True:
        await anyio.sleep(LOOK_SECONDS)
        await to_thread.run_sync(heap.look)
