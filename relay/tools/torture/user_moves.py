"""Draws what a user of a run does next, from the user's own random generator."""

from collections.abc import Sequence
from enum import Enum, auto
from random import Random
from typing import Final


class Move(Enum):
    """One action of a user."""

    SAY = auto()
    CALL = auto()
    LEAVE = auto()
    QUIT = auto()
    CUT = auto()  # break the connection and come back
    VANISH = auto()  # break the connection and stay away longer than the grace
    STALL = auto()  # read nothing for a while
    IDLE = auto()


# The weights of the moves, with a partner and without. There are enough calls and ends that every chat meets some, and
# so many messages that some are in flight at any fault.
_PAIRED: Final = {
    Move.SAY: 800,
    Move.IDLE: 100,
    Move.CALL: 25,
    Move.LEAVE: 20,
    Move.CUT: 25,
    Move.STALL: 10,
    Move.QUIT: 8,
    Move.VANISH: 2,
}
_ALONE: Final = {Move.CALL: 700, Move.IDLE: 250, Move.CUT: 25, Move.QUIT: 8, Move.VANISH: 2}


class Moves:
    """Draws moves."""

    def __init__(self, rng: Random, others: Sequence[str]) -> None:
        self._rng = rng
        self._others = others

    def next(self, partner: str, *, sane: bool) -> Move:
        """Return the next move. If the user waits for an outcome (not `sane`), it is one that is always possible."""
        weights = _PAIRED if partner else _ALONE
        move = self._rng.choices(list(weights), list(weights.values()))[0]
        return move if sane or move in (Move.CUT, Move.VANISH, Move.STALL) else Move.IDLE

    def someone(self) -> str:
        """Return a user to call."""
        return self._rng.choice(self._others)
