"""On which nodes the sessions of this one have partners: counted as pairs come and go, so that nobody has to look."""

from collections.abc import Set
from typing import Final

# Of one session: the node of the partner that it chats with, and of the one that it is agreeing with; None: no such
# partner.
Ties = tuple[str | None, str | None]

NO_TIES: Final[Ties] = (None, None)


class PartnerNodes:
    """The partners of all sessions of a node."""

    def __init__(self) -> None:
        self.chatting = 0  # sessions in a chat: two to a pair, of whom one may be elsewhere
        self._counts: dict[str, int] = {}  # ties with each node

    @property
    def nodes(self) -> Set[str]:
        """The nodes that hold one."""
        return self._counts.keys()

    def change(self, before: Ties, after: Ties) -> None:
        """The ties of one session were those, and now are these."""
        self.chatting += (after[0] is not None) - (before[0] is not None)
        for node_id in after:
            if node_id is not None:
                self._counts[node_id] = self._counts.get(node_id, 0) + 1
        for node_id in before:
            if node_id is not None:
                self._counts[node_id] -= 1
                if not self._counts[node_id]:
                    del self._counts[node_id]
