"""The randomness of a process: ids, tokens and choices. Nothing else in relay draws any, except the tools."""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from random import Random, SystemRandom
from typing import Final, TypeVar

T = TypeVar("T")


class Entropy:
    """Draws from `source`, the system's random numbers. If `source` is replaced, tokens are no secrets any more."""

    __slots__ = ("source",)

    def __init__(self) -> None:
        self.source: Random = SystemRandom()

    def token_bytes(self, count: int) -> bytes:
        """Return random bytes."""
        return self.source.randbytes(count)

    def token_hex(self, count: int) -> str:
        """Return random bytes as hex digits, two for each."""
        return self.token_bytes(count).hex()

    def token_urlsafe(self, count: int) -> str:
        """Return random bytes in Base64 for URLs, without padding."""
        return urlsafe_b64encode(self.token_bytes(count)).rstrip(b"=").decode()

    def below(self, bound: int) -> int:
        """Return a random number from 0 to `bound` - 1."""
        return self.source.randrange(bound)

    def sample(self, population: Sequence[T], count: int) -> list[T]:
        """Return different elements in a random order."""
        return self.source.sample(population, count)


entropy: Final = Entropy()
