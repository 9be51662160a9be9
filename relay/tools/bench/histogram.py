"""A histogram of latencies in bounded memory, which can be merged across processes."""

import math
from collections.abc import Mapping
from typing import Final

_PRECISION_BITS: Final = 7  # each power of two has 128 buckets, so a percentile is at most 0.8 % too high


class Histogram:
    """Counts of durations in nanoseconds."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._counts: dict[int, int] = dict(counts or {})

    @property
    def counts(self) -> dict[int, int]:
        """The counts by their bucket's upper edge in nanoseconds. Another Histogram can be made from them."""
        return self._counts

    @property
    def total(self) -> int:
        """The number of durations added."""
        return sum(self._counts.values())

    def add(self, duration: int, count: int = 1) -> None:
        """Add a duration `count` times. A negative one (clocks aren't perfect) counts as 0."""
        shift = max(0, duration.bit_length() - _PRECISION_BITS - 1)
        edge = (max(0, duration) >> shift << shift) + (1 << shift) - 1
        self._counts[edge] = self._counts.get(edge, 0) + count

    def merge(self, other: "Histogram") -> None:
        """Add the counts of the other histogram."""
        for edge, count in other.counts.items():
            self._counts[edge] = self._counts.get(edge, 0) + count

    def percentile(self, percent: float) -> int | None:
        """Return the duration in nanoseconds that `percent` percent don't exceed, or None if nothing was added."""
        rank = math.ceil(self.total * percent / 100)
        seen = 0
        for edge in sorted(self._counts):
            seen += self._counts[edge]
            if seen >= max(1, rank):
                return edge
        return None
