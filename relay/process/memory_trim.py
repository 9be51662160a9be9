"""Returns freed memory to the system. The C library keeps it, because one block in use is enough to hold it back.

After many partial lines or sessions a node would stay as large as it once was. With a C library other than glibc (2.33
or later) nothing is done.
"""

import ctypes
from collections.abc import Callable
from typing import Final

import anyio
from anyio import to_thread

CHECK_SECONDS: Final = 2.0
# This much freed memory is returned at once. A gigabyte takes a tenth of a second, in a thread, and allocations may
# wait for it.
WORTH_BYTES: Final = 32 * 1024 * 1024
# Less than that is returned if it stays free, because many sessions that end slowly would leave up to WORTH_BYTES
# behind.
REST_BYTES: Final = 4 * 1024 * 1024
REST_CHECKS: Final = 5


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
    """Decides when to return the C library's free memory.

    Args:
        free: returns the number of free bytes, whether returned to the system or not.
        give_back: returns all free memory to the system.
    """

    def __init__(self, free: Callable[[], int], give_back: Callable[[], object]) -> None:
        self._free, self._give_back = free, give_back
        self._least = 0  # the smallest number of free bytes since memory was last returned
        self._restful_checks = 0  # consecutive checks that found at least REST_BYTES

    def trim_if_worthwhile(self) -> None:
        """Return free memory to the system if enough has been freed."""
        free = self._free()
        self._least = min(self._least, free)
        freed = free - self._least
        self._restful_checks = self._restful_checks + 1 if freed >= REST_BYTES else 0
        if freed >= WORTH_BYTES or self._restful_checks >= REST_CHECKS:
            self._least, self._restful_checks = free, 0
            self._give_back()


async def trim_heap() -> None:
    """Check the heap every `CHECK_SECONDS`. Never returns, except with an unsupported C library."""
    found = _find()
    if found is None:
        return
    heap = Heap(*found)
    while True:
        await anyio.sleep(CHECK_SECONDS)
        await to_thread.run_sync(heap.trim_if_worthwhile)
