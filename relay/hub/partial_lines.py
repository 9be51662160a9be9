"""Half lines while memory is short: a node holds them, so a client that goes on with one waits for its turn.

Without turns nobody might ever finish: what would free memory may be an acknowledgement behind somebody's half line.
"""

from typing import Final, Protocol

from relay.hub.tick_scheduler import Settling
from relay.session.memory_budget import MemoryBudget

# How long a client may take to say the rest of its line before it is the next one's turn: 64 KiB at 50 kbit/s.
TURN_SECONDS: Final = 10.0


class PartialLine(Settling, Protocol):
    """A connection, in the middle of a line."""

    @property
    def half(self) -> int:
        """Bytes of the line that isn't whole yet."""

    @property
    def unsaid(self) -> int:
        """Bytes by which that line may still grow."""


class PartialLines:
    """Those who wait in the middle of a line, and those whose turn it is to say the rest."""

    def __init__(self, memory_budget: MemoryBudget) -> None:
        self._memory_budget = memory_budget
        self._waiting: dict[PartialLine, None] = {}  # in their order
        self._turns: dict[PartialLine, float] = {}  # until when

    def admits(self, one: PartialLine) -> bool:
        """Whether it may be read now. If not, `look` returns it once it may ask again."""
        if one.half <= self._memory_budget.allowance or one in self._turns:
            return True
        self._waiting[one] = None
        return False

    def done(self, one: PartialLine) -> bool:
        """A line of it is whole. Whether that was its turn: the next one need not wait for it any more."""
        return self._turns.pop(one, None) is not None

    def forget(self, one: PartialLine) -> None:
        """It is gone."""
        self._waiting.pop(one, None)
        self._turns.pop(one, None)

    def look(self, now: float) -> list[PartialLine]:
        """Give turns: so many that the whole lines fit into the budget, and one at least. Returns who may go on."""
        if not self._memory_budget.short:
            called = list(self._waiting)
            self._waiting.clear()
            self._turns.clear()
            return called
        self._turns = {one: until for one, until in self._turns.items() if one.half and now < until}
        room = self._memory_budget.room - sum(one.unsaid for one in self._turns)
        called = []
        while self._waiting and (not self._turns or next(iter(self._waiting)).unsaid <= room):
            one = next(iter(self._waiting))
            del self._waiting[one]
            self._turns[one] = now + TURN_SECONDS
            room -= one.unsaid
            called.append(one)
        return called
