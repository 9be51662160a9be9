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
        for uid in after:
            if uid is not None:
                self._counts[uid] = self._counts.get(uid, 0) + 1
        for uid in before:
            if uid is not None:
                self._counts[uid] -= 1
                if not self._counts[uid]:
                    del self._counts[uid]
