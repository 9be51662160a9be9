"""How much of what is drawn a run tries: `make check` a fifth of what `make test` does, `make test-all` and `make fuzz`
more.
"""

import os

USUAL = 50  # examples of a property in `make test`
EXAMPLES = int(os.environ.get("EXAMPLES", USUAL))


def share(usual: int) -> int:
    """Return how many of something a run tries where `make test` tries the usual number: fewer only in `make check`."""
    return max(1, min(usual, usual * EXAMPLES // USUAL))
