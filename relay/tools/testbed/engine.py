"""The kinds of Redis that a testbed has, and how soon each notices that a primary is gone."""

from enum import StrEnum
from typing import Final


class Engine(StrEnum):
    """What the nodes keep their directory in."""

    STANDALONE = "standalone"  # one server
    SENTINEL = "sentinel"  # a primary and a replica, under three sentinels
    CLUSTER = "cluster"  # three primaries, with a replica each


# Silence of a primary, in seconds, after which sentinels, or the others of a cluster, call it failed.
DOWN_AFTER: Final = 1.0
NODE_TIMEOUT: Final = 2.0
