"""Every key and channel name, made in this one place."""

import hashlib
from functools import lru_cache
from typing import Final

from msgspec import Struct

# Names are spread over a fixed number of hashes. 1,024: at ten million users ten thousand to a hash, and one that is
# lost to eviction takes a thousandth of the directory with it; also few enough to write all of them at a first start.
PARTITIONS: Final = 1024
# Partitions remembered: a roll-call looks at every session of a node.
CACHED: Final = 100_000


class Place(Struct, frozen=True):
    """Where the record of a name lives: the hash of its partition, and the field in it."""

    partition: int
    key: str
    field: str


class Keys:
    """The names under one prefix; relays with different prefixes share nothing."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.everyone = f"{prefix}:everyone"  # channel that all nodes hear
        self.nodes = f"{prefix}:nodes"  # what each node says of itself (relay.status), by uid

    def place(self, owned: str) -> Place:
        """The record of an owned name. Raw names never reach the key space: whatever is in them means nothing there."""
        partition = _partition(owned)
        return Place(partition, self.partition(partition), _digest(owned))

    def partition_of(self, owned: str) -> int:
        """The partition of an owned name."""
        return _partition(owned)

    def partition(self, number: int) -> str:
        """The hash that holds a partition: its epoch in field "@", a record in every other one."""
        return f"{self._prefix}:{{p{number}}}"

    def lease(self, uid: str) -> str:
        """The lease of a node."""
        return f"{self._prefix}:lease:{uid}"

    def inbox(self, uid: str) -> str:
        """The channel on which a node gets its mail."""
        return f"{self._prefix}:inbox:{uid}"


def _digest(owned: str) -> str:
    return hashlib.blake2b(owned.encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=CACHED)
def _partition(owned: str) -> int:
    return int(_digest(owned)[:8], 16) % PARTITIONS
