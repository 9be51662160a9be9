"""The response timeout of a server, from its measured round trips (RFC 6298)."""

from typing import Final

# The slack beyond the usual round trip. A call of the directory ends as "unavailable" within a second, so that the rest
# of it remains for a retry on a new connection.
SLACK_SECONDS: Final = 0.6
# The timeout while nothing has been measured yet.
FIRST_SECONDS: Final = 1.0
# The longest timeout. Round trips of two seconds still succeed, and a server that is away delays nobody for longer.
LONGEST_SECONDS: Final = 3.0
# The number of measurements whose minimum is taken. A longer route shows after twice as many at the latest.
LEAST_OF: Final = 16
# The weights of a new measurement, from RFC 6298.
_OF_MEAN: Final = 1 / 8
_OF_DEVIATION: Final = 1 / 4


class RoundTripTimeout:
    """The smoothed round-trip time to one server, its mean deviation, and the timeout that follows."""

    __slots__ = ("_backoff", "_count", "_least", "deviation", "mean")

    def __init__(self) -> None:
        self.mean: float | None = None
        self.deviation = 0.0
        self._backoff = 1
        self._least = [float("inf")] * 2  # of the former LEAST_OF measurements, and of the current ones
        self._count = 0

    def took(self, seconds: float) -> None:
        """Add a measured round trip."""
        if self.mean is None:
            self.mean, self.deviation = seconds, seconds / 2
        else:
            self.deviation += (abs(self.mean - seconds) - self.deviation) * _OF_DEVIATION
            self.mean += (seconds - self.mean) * _OF_MEAN
        if self._backoff > 1:
            self._backoff, self._count, self._least = 1, 0, [float("inf")] * 2  # the route may have changed
        if self._count % LEAST_OF == 0:
            self._least = [self._least[1], float("inf")]
        self._least[1] = min(self._least[1], seconds)
        self._count += 1

    def missed(self) -> None:
        """Handle a timeout: double the next one, as the route may have become longer."""
        if self.patience < LONGEST_SECONDS:
            self._backoff *= 2

    @property
    def least(self) -> float:
        """The network round trip in seconds, without the server's work: the minimum of recent measurements.

        It is 0 while nothing has been measured.
        """
        return 0.0 if self.mean is None else min(LONGEST_SECONDS, *self._least)

    @property
    def patience(self) -> float:
        """The timeout of a reply in seconds."""
        enough = FIRST_SECONDS if self.mean is None else SLACK_SECONDS + self.mean + 4 * self.deviation
        return min(LONGEST_SECONDS, enough * self._backoff)
