"""The Redis topologies of a testbed, and the time in which each detects that a primary has failed."""

from enum import StrEnum
from typing import Final


class RedisKind(StrEnum):
    """The Redis topology that the nodes use."""

    STANDALONE = "standalone"  # one server
    SENTINEL = "sentinel"  # a primary and a replica, under three sentinels
    CLUSTER = "cluster"  # three primaries, with a replica each


# Seconds of silence after which sentinels, or the other servers of a cluster, consider a primary as failed.
DOWN_AFTER: Final = 1.0
NODE_TIMEOUT: Final = 2.0
