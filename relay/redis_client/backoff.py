"""The pause between retries grows after each failure, up to a bound."""

import math
from collections.abc import Sequence
from typing import Final

# The pauses before a broken connection is replaced: the first try is at once, and the last pause is repeated.
RECONNECT_SECONDS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
# A connection that ends so soon after its begin was no success. Otherwise a server that cuts each one off at once would
# be asked for the next one some hundred times a second.
BRIEF_SECONDS: Final = 0.02


class Backoff:
    """The pauses between tries grow along a table while they fail, and start again after a success."""

    def __init__(self, seconds: Sequence[float]) -> None:
        """`seconds` has the pause after a success, then the one after each failure in a row."""
        self._seconds = seconds
        self._failures = 0

    def after(self, *, well: bool, lasted: float = math.inf) -> float:
        """Return the seconds to wait after a try that succeeded or failed. One that `lasted` briefly has failed."""
        self._failures = 0 if well and lasted >= BRIEF_SECONDS else min(self._failures + 1, len(self._seconds) - 1)
        return self._seconds[self._failures]
