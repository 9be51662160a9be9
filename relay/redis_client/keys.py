"""Every key and channel name, made in this one place."""

import hashlib
from typing import Final

from msgspec import Struct

# Names are spread over a fixed number of hashes. 1,024: at ten million users ten thousand to a hash, and one that is
# lost to eviction takes a thousandth of the directory with it; also few enough to write all of them at a first start.
PARTITIONS: Final = 1024


class RecordKey(Struct, frozen=True):
    """Where the record of a name lives: the hash of its partition, and the field in it."""

    partition: int
    key: str
    field: str


class Keys:
    """The names under one prefix; relays with different prefixes share nothing."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.everyone = f"{prefix}:everyone"  # channel that all nodes hear
        self.nodes = f"{prefix}:nodes"  # what each node says of itself (relay.tools.status), by uid

    def place(self, canonical_name: str) -> RecordKey:
        """The record of an owned name. Raw names never reach the key space: whatever is in them means nothing there."""
        digest = _digest(canonical_name)
        partition = _partition(digest)
        return RecordKey(partition, self.partition(partition), digest)

    def partition_of(self, canonical_name: str) -> int:
        """The partition of an owned name. Reckoned each time: to remember them cost 0.2 KB a name."""
        return _partition(_digest(canonical_name))

    def partition(self, number: int) -> str:
        """The hash that holds a partition: its epoch in field "@", a record in every other one."""
        return f"{self._prefix}:{{p{number}}}"

    def called(self, name: str) -> str:
        """Where nodes of this name leave their uid, the last one at last."""
        return f"{self._prefix}:called:{name}"

    def lease(self, node_id: str) -> str:
        """The lease of a node."""
        return f"{self._prefix}:lease:{node_id}"

    def inbox(self, node_id: str) -> str:
        """The channel on which a node gets its mail."""
        return f"{self._prefix}:inbox:{node_id}"

    def beside(self, inbox: str) -> str:
        """A channel that nobody hears, in the slot of this inbox."""
        return f"{self._prefix}:nobody:{{{inbox}}}"


def _digest(canonical_name: str) -> str:
    return hashlib.blake2b(canonical_name.encode(), digest_size=16).hexdigest()


def _partition(digest: str) -> int:
    return int(digest[:8], 16) % PARTITIONS
