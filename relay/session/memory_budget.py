"""Bounds the memory that all sessions of a node together spend on messages under way."""

from collections.abc import Iterable
from typing import Final

# A message costs this much in addition to its text, for the objects around it in the window and in the peer message.
MESSAGE_BYTES: Final = 256
# A waiting line costs this much in addition to its bytes, for an object and its place in the queue.
LINE_BYTES: Final = 64
# A connection reads this much at a time while memory is short.
SHORT_READ_BYTES: Final = 4 * 1024
# The allowance of a window while memory isn't short: in effect only the window's own bounds count.
PLENTY: Final = 1 << 40


class MemoryBudget:
    """Half of `memory` (bytes) is for windows and unread replies; Python's own overhead needs the other half.

    Windows may fill to their own bounds until half of that is spent. After that the rest is shared out equally. The
    last quarter is kept for clients that hold less than their share, so a few words pass while many others flood.
    """

    def __init__(self, memory: int) -> None:
        self._bound = memory // 2
        self._few_words = self._bound // 4
        self.used = 0  # bytes held at the last `share_out`
        self.allowance = PLENTY  # bytes that a window may cost now, including the overhead of its messages

    @property
    def short(self) -> bool:
        """Return whether memory is short, so that connections must read less at a time."""
        return self.allowance < PLENTY

    @property
    def room(self) -> int:
        """Bytes that are left of the budget."""
        return self._bound - self.used

    def share_out(self, held: Iterable[int]) -> None:
        """Share the budget out anew. `held` has the bytes that each client holds."""
        amounts = [amount for amount in held if amount]
        self.used = sum(amounts)
        if self.used <= self._bound // 2:
            self.allowance = PLENTY
        else:
            left = self._bound - self._few_words - self.used
            self.allowance = max(left, self._few_words) // len(amounts)
