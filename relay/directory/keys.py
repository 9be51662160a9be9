"""Every key and channel name, made in this one place."""

import hashlib
from typing import Final

from msgspec import Struct

# Names are spread over a fixed number of hashes. 1,024: at ten million users ten thousand to a hash, and one that is
# lost to eviction takes a thousandth of the directory with it; also few enough to write all of them at a first start.
PARTITIONS: Final = 1024


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

    def place(self, owned: str) -> Place:
        """The record of an owned name. Raw names never reach the key space: whatever is in them means nothing there."""
        digest = hashlib.blake2b(owned.encode(), digest_size=16).hexdigest()
        partition = int(digest[:8], 16) % PARTITIONS
        return Place(partition, self.partition(partition), digest)

    def partition(self, number: int) -> str:
        """The hash that holds a partition: its epoch in field "@", a record in every other one."""
        return f"{self._prefix}:{{p{number}}}"

    def lease(self, uid: str) -> str:
        """The lease of a node."""
        return f"{self._prefix}:lease:{uid}"

    def inbox(self, uid: str) -> str:
        """The channel on which a node gets its mail."""
        return f"{self._prefix}:inbox:{uid}"
