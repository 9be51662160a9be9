"""How long a server may take to answer: what is usual for it, and some more (RFC 6298)."""

from typing import Final

# How long a server may be silent beyond what is usual. Whoever waits for the directory is told "unavailable" within
# a second: the rest of it is for another try on a new connection.
SLACK_SECONDS: Final = 0.6
# The same while nothing has been measured yet.
FIRST_SECONDS: Final = 1.0
# The upper bound: round trips of two seconds still get through, and a server that is away holds nobody up for longer.
LONGEST_SECONDS: Final = 3.0
# The least of so many measurements is taken: a way that has become longer is known after twice as many at the most.
LEAST_OF: Final = 16
# Weights of a new measurement, those of RFC 6298.
_OF_MEAN: Final = 1 / 8
_OF_DEVIATION: Final = 1 / 4


class RoundTrip:
    """The smoothed round-trip time to one server, its mean deviation, and what follows from them."""

    __slots__ = ("_backoff", "_count", "_least", "deviation", "mean")

    def __init__(self) -> None:
        self.mean: float | None = None
        self.deviation = 0.0
        self._backoff = 1
        self._least = [float("inf")] * 2  # of the last measurements but LEAST_OF, and of those
        self._count = 0

    def took(self, seconds: float) -> None:
        """A round trip took so long."""
        if self.mean is None:
            self.mean, self.deviation = seconds, seconds / 2
        else:
            self.deviation += (abs(self.mean - seconds) - self.deviation) * _OF_DEVIATION
            self.mean += (seconds - self.mean) * _OF_MEAN
        if self._backoff > 1:
            self._backoff, self._count, self._least = 1, 0, [float("inf")] * 2  # the way may be another one now
        if self._count % LEAST_OF == 0:
            self._least = [self._least[1], float("inf")]
        self._least[1] = min(self._least[1], seconds)
        self._count += 1

    def missed(self) -> None:
        """Nothing came within `patience`: wait for twice as long next time, since the way may have become longer."""
        if self.patience < LONGEST_SECONDS:
            self._backoff *= 2

    @property
    def least(self) -> float:
        """Seconds that the way there and back takes, without what the server does: the least of the last measurements.

        0 while nothing has been measured.
        """
        return 0.0 if self.mean is None else min(LONGEST_SECONDS, *self._least)

    @property
    def patience(self) -> float:
        """Seconds after which an answer isn't waited for any longer."""
        enough = FIRST_SECONDS if self.mean is None else SLACK_SECONDS + self.mean + 4 * self.deviation
        return min(LONGEST_SECONDS, enough * self._backoff)
