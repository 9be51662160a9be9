"""The memory that a node spends on messages under way: bounded for all its sessions together."""

from collections.abc import Iterable
from typing import Final

# What a message costs beside its text: the objects around it, in the window and in the mail.
MESSAGE_BYTES: Final = 256
# What a line that waits costs beside its bytes: an object, and its place in the queue.
LINE_BYTES: Final = 64
# One read while memory is short.
SHORT_READ_BYTES: Final = 4 * 1024
# What a window may hold while memory is not short: its own bounds are all that counts.
PLENTY: Final = 1 << 40


class MemoryBudget:
    """Half of `memory` (bytes) is for windows and unread replies; the other half for what Python needs beside them.

    Windows may fill to their own bounds until half of that is spent; then what is left is shared out. The last quarter
    is for those who hold less than their share of it: a few words pass, however many others flood.
    """

    def __init__(self, memory: int) -> None:
        self._bound = memory // 2
        self._few_words = self._bound // 4
        self.held = 0  # bytes, when it was last looked at
        self.allowance = PLENTY  # bytes that a window may cost now, its messages' overhead included

    @property
    def short(self) -> bool:
        """Memory is short: read less at a time."""
        return self.allowance < PLENTY

    @property
    def room(self) -> int:
        """Bytes that may still be held."""
        return self._bound - self.held

    def look(self, held: Iterable[int]) -> None:
        """Share out anew. `held`: the bytes that each client holds."""
        amounts = [amount for amount in held if amount]
        self.held = sum(amounts)
        if self.held <= self._bound // 2:
            self.allowance = PLENTY
        else:
            left = self._bound - self._few_words - self.held
            self.allowance = max(left, self._few_words) // len(amounts)
