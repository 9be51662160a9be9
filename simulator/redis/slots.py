"""The slots of a cluster."""

from binascii import crc_hqx
from collections import Counter
from functools import lru_cache
from itertools import groupby
from typing import Final

SLOTS: Final = 16_384


@lru_cache(maxsize=16_384)
def slot_of(name: bytes) -> int:
    """Return the slot of a key or channel: of the part between the first `{` and the next `}`, unless it is empty."""
    start = name.find(b"{")
    end = name.find(b"}", start + 1) if start >= 0 else -1
    tag = name[start + 1 : end] if end > start + 1 else name
    return crc_hqx(tag, 0) % SLOTS


class SlotTable:
    """The owner of each slot in one view, as the id of a member; None for none."""

    def __init__(self) -> None:
        self.version = 0  # rises with each change
        self._owners: list[str | None] = [None] * SLOTS
        self._counts: Counter[str | None] = Counter({None: SLOTS})
        self._ranges: dict[str, list[tuple[int, int]]] | None = None  # of each member, since the last change

    def __getitem__(self, slot: int) -> str | None:
        return self._owners[slot]

    def __setitem__(self, slot: int, owner: str | None) -> None:
        before = self._owners[slot]
        self._owners[slot] = owner
        self._counts[before] -= 1
        self._counts[owner] += 1
        self.version += 1
        self._ranges = None

    @property
    def owners(self) -> list[str]:
        """The members that have slots, always in the same order."""
        return [owner for owner, count in self._counts.items() if count and owner is not None]

    @property
    def whole(self) -> bool:
        """Whether each slot has an owner."""
        return not self._counts[None]

    def count(self, owner: str) -> int:
        """Return how many slots a member has."""
        return self._counts[owner]

    def of(self, owner: str) -> list[int]:
        """Return the slots of a member."""
        return [slot for first, last in self.ranges(owner) for slot in range(first, last + 1)]

    def ranges(self, owner: str) -> list[tuple[int, int]]:
        """Return the first and the last slot of each range that a member has."""
        if self._ranges is None:
            self._ranges = {}
            first = 0
            for its, run in groupby(self._owners):
                end = first + sum(1 for _ in run)
                if its is not None:
                    self._ranges.setdefault(its, []).append((first, end - 1))
                first = end
        return self._ranges.get(owner, [])
