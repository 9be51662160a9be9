"""Gives turns to clients with a partial line while memory is short, because the node holds these lines in memory.

Without turns it might happen that no client ever finishes: the acknowledgement that would free memory may come behind a
client's partial line.
"""

from typing import Final, Protocol

from relay.hub.loop_tick import TickParticipant
from relay.session.memory_budget import MemoryBudget

# A client may take this long to send the rest of its line before the next one's turn: 64 KiB at 50 kbit/s.
TURN_SECONDS: Final = 10.0


class PartialLine(TickParticipant, Protocol):
    """A connection that may have received part of a line."""

    @property
    def half(self) -> int:
        """Bytes of the partial line that have been received."""

    @property
    def unsaid(self) -> int:
        """Bytes by which the partial line may still grow."""


class PartialLineTurns:
    """Holds the connections that wait in the middle of a line, and those whose turn it is to send the rest."""

    def __init__(self, memory_budget: MemoryBudget) -> None:
        self._memory_budget = memory_budget
        self._waiting: dict[PartialLine, None] = {}  # in the order of their arrival
        self._turns: dict[PartialLine, float] = {}  # the time at which each turn ends

    def admits(self, one: PartialLine) -> bool:
        """Return whether the connection may be read now. If not, `give_turns` returns it once it may ask again."""
        if one.half <= self._memory_budget.allowance or one in self._turns:
            return True
        self._waiting[one] = None
        return False

    def done(self, one: PartialLine) -> bool:
        """End the connection's turn, because its line is complete. Returns whether it had one, so another may begin."""
        return self._turns.pop(one, None) is not None

    def forget(self, one: PartialLine) -> None:
        """Forget a connection that is gone."""
        self._waiting.pop(one, None)
        self._turns.pop(one, None)

    def give_turns(self, now: float) -> list[PartialLine]:
        """Give turns to the first connections whose lines fit into the budget, but at least to one. Returns those.

        If memory isn't short any more, returns all that wait.
        """
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
