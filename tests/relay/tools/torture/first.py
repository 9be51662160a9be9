"""Random numbers that always choose the first, so that a user does what its test says."""

from random import Random


class First(Random):
    """Every draw is the lowest; a paired user says something short, one alone calls the first of its names."""

    def random(self) -> float:
        return 0.0
