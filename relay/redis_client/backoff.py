"""Whoever tries again and again waits longer after each failure, up to a bound."""

from collections.abc import Sequence
from typing import Final

# The pauses before a broken connection is made anew: the first try is at once, and the last pause stays.
RECONNECT_SECONDS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


class Backoff:
    """The pauses between tries grow along a table while they fail, and begin anew once one went well."""

    def __init__(self, seconds: Sequence[float]) -> None:
        """`seconds`: the pause after a try that went well, then the one after each failure in a row."""
        self._seconds = seconds
        self._failures = 0

    def after(self, *, well: bool) -> float:
        """Return how many seconds to wait after a try that went well or didn't."""
        self._failures = 0 if well else min(self._failures + 1, len(self._seconds) - 1)
        return self._seconds[self._failures]
