"""Random numbers that always select the first choice, so that a user does what its test says."""

from random import Random


class First(Random):
    """Every draw is the lowest. A paired user sends a short text, and one without a partner calls the first name."""

    def random(self) -> float:
        return 0.0
