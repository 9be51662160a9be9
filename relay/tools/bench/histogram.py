"""Latencies in bounded memory, mergeable across processes."""

import math
from collections.abc import Mapping
from typing import Final

_PRECISION_BITS: Final = 7  # each doubling is cut into 128 parts: a percentile is at most 0.8 % too high


class Histogram:
    """Counts of durations in nanoseconds."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._counts: dict[int, int] = dict(counts or {})

    @property
    def counts(self) -> dict[int, int]:
        """By the upper edge of their bucket, in nanoseconds; what another Histogram can be made from."""
        return self._counts

    @property
    def total(self) -> int:
        """How many were added."""
        return sum(self._counts.values())

    def add(self, duration: int, count: int = 1) -> None:
        """Add so many of one duration; a negative one (clocks are not perfect) counts as 0."""
        shift = max(0, duration.bit_length() - _PRECISION_BITS - 1)
        edge = (max(0, duration) >> shift << shift) + (1 << shift) - 1
        self._counts[edge] = self._counts.get(edge, 0) + count

    def merge(self, other: "Histogram") -> None:
        """Add all that the other one has."""
        for edge, count in other.counts.items():
            self._counts[edge] = self._counts.get(edge, 0) + count

    def percentile(self, percent: float) -> int | None:
        """The duration that so many percent don't exceed, in nanoseconds; None of nothing."""
        rank = math.ceil(self.total * percent / 100)
        seen = 0
        for edge in sorted(self._counts):
            seen += self._counts[edge]
            if seen >= max(1, rank):
                return edge
        return None
