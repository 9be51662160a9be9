"""Redis Cluster: which member serves a key, as each member sees it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from simulator.redis.commands import Command
    from simulator.redis.connection import ClientConnection


class ClusterMember(Protocol):
    """A server's part in a cluster."""

    def check(self, client: "ClientConnection", command: "Command", keys: Sequence[bytes], asking: bool) -> None:
        """Raise CommandError unless this member serves the keys of a command."""

    def check_script(
        self, client: "ClientConnection", command: "Command", keys: Sequence[bytes], declared: Sequence[bytes]
    ) -> None:
        """Raise CommandError unless a script may use these keys."""

    def broadcast(self, kind: str, channel: bytes, message: bytes) -> None:
        """Tell the other members of a published message; of one on a sharded channel, those of this shard."""
