"""This module has the randomness of the client, which spreads clients over nodes and time. None of it is secret."""

from random import Random

__all__ = ["Random", "entropy", "rank"]


class Entropy:
    """The source of the client's random numbers. It may be replaced, for all callers from then on."""

    __slots__ = ("source",)

    def __init__(self) -> None:
        self.source = Random()


entropy = Entropy()


def rank(seed: str) -> float:
    """Return a number from 0 to 1 that depends on the seed only."""
    return Random(seed).random()
