"""Counts on which nodes the partners of this node's sessions live, so that nobody has to search all sessions."""

from collections.abc import Set
from typing import Final

# The ties of one session: the node of its chat partner, and the node of the partner that it is agreeing on a chat with.
# None means that there is no such partner.
Ties = tuple[str | None, str | None]

NO_TIES: Final[Ties] = (None, None)


class PartnerNodeCounts:
    """The partners of all sessions of a node."""

    def __init__(self) -> None:
        self.chatting = 0  # sessions here that are in a chat; the partner of each may be on another node
        self._counts: dict[str, int] = {}  # number of ties, by node id

    @property
    def nodes(self) -> Set[str]:
        """The ids of the nodes that hold at least one partner, this node included."""
        return self._counts.keys()

    def change(self, before: Ties, after: Ties) -> None:
        """Count that the ties of one session changed."""
        self.chatting += (after[0] is not None) - (before[0] is not None)
        for node_id in after:
            if node_id is not None:
                self._counts[node_id] = self._counts.get(node_id, 0) + 1
        for node_id in before:
            if node_id is not None:
                self._counts[node_id] -= 1
                if not self._counts[node_id]:
                    del self._counts[node_id]
