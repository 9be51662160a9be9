"""What a user of a run does next, drawn from its own random numbers."""

from collections.abc import Sequence
from enum import Enum, auto
from random import Random
from typing import Final


class Move(Enum):
    """One deed."""

    SAY = auto()
    CALL = auto()
    LEAVE = auto()
    QUIT = auto()
    CUT = auto()  # break the connection and come back
    VANISH = auto()  # break it and stay away for longer than the grace
    STALL = auto()  # read nothing for a while
    IDLE = auto()


# How often, for one with a partner and one without. Enough calls and ends that every chat meets some of them, and so
# much talk that something is under way whenever anything breaks.
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
    """Draws deeds."""

    def __init__(self, rng: Random, others: Sequence[str]) -> None:
        self._rng = rng
        self._others = others

    def next(self, partner: str, *, sane: bool) -> Move:
        """What comes next. `sane`: nothing is waited for; else only what is always possible."""
        weights = _PAIRED if partner else _ALONE
        move = self._rng.choices(list(weights), list(weights.values()))[0]
        return move if sane or move in (Move.CUT, Move.VANISH, Move.STALL) else Move.IDLE

    def someone(self) -> str:
        """Whom to call."""
        return self._rng.choice(self._others)
