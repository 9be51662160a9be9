"""How much of what is drawn a run tries: `make check` a fifth of what `make test` does, `make test-all` and `make fuzz`
more.
"""

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

USUAL = 50  # examples of a property in `make test`
EXAMPLES = int(os.environ.get("EXAMPLES", USUAL))


def share(usual: int) -> int:
    """Return how many of something a run tries where `make test` tries the usual number: fewer only in `make check`."""
    return max(1, min(usual, usual * EXAMPLES // USUAL))


def some(usual: Sequence[T]) -> Sequence[T]:
    """Return the cases that a run tries of those that `make test` tries: in `make check` every fifth."""
    return usual[:: USUAL // min(EXAMPLES, USUAL)]
