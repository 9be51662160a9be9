"""Makes all names of keys and channels."""

import hashlib
from typing import ClassVar, Final

from msgspec import Struct

# Names are spread over a fixed number of hashes. With 1,024, ten million users are ten thousand to a hash, the eviction
# of one takes a thousandth of the directory with it, and a first start can write all of them.
PARTITIONS: Final = 1024


class RecordKey(Struct, frozen=True):
    """The place of a name's record: the key of its partition's hash, and the field in it."""

    partition: int
    key: str
    field: str


class Keys:
    """The names of keys and channels under one prefix. Relays with different prefixes share nothing."""

    # All nodes of a cluster have to agree on it. Only the simulator has fewer.
    partitions: ClassVar[int] = PARTITIONS

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.everyone = f"{prefix}:everyone"  # the channel that all nodes subscribe to
        self.nodes = f"{prefix}:nodes"  # the report of each node by its id (relay.tools.status)

    def place(self, canonical_name: str) -> RecordKey:
        """Return the place of a canonical name's record: a hash of the name, so no character has a meaning there."""
        digest = _digest(canonical_name)
        partition = self._partition(digest)
        return RecordKey(partition, self.partition(partition), digest)

    def partition_of(self, canonical_name: str) -> int:
        """Return the partition of a canonical name. It is computed each time, as a cache cost 0.2 KB a name."""
        return self._partition(_digest(canonical_name))

    def _partition(self, digest: str) -> int:
        return int(digest[:8], 16) % self.partitions

    def partition(self, number: int) -> str:
        """Return the key of a partition's hash. Its field "@" has the epoch, and every other field a record."""
        return f"{self._prefix}:{{p{number}}}"

    def called(self, name: str) -> str:
        """Return the key that has the id of the last node with this `--name`."""
        return f"{self._prefix}:called:{name}"

    def lease(self, node_id: str) -> str:
        """Return the key of a node's lease."""
        return f"{self._prefix}:lease:{node_id}"

    def inbox(self, node_id: str) -> str:
        """Return the channel on which a node receives peer messages."""
        return f"{self._prefix}:inbox:{node_id}"

    def beside(self, inbox: str) -> str:
        """Return a channel without subscribers, in the slot of this inbox."""
        return f"{self._prefix}:nobody:{{{inbox}}}"


def _digest(canonical_name: str) -> str:
    return hashlib.blake2b(canonical_name.encode(), digest_size=16).hexdigest()
