"""Warns if another node has this node's name: operators would confuse the two, and `relay drain` can't choose."""

from typing import Final

from relay.logs import Spell

# After this many consecutive reports without a trace of another node, the name counts as unique again.
ALONE: Final = 3


class DuplicateNodeName:
    """Notices another node of the same name.

    Each node repeatedly writes its node id to the key of its name, and reads the node id that was there before.
    """

    def __init__(self, name: str, node_id: str) -> None:
        self._name = name
        self._node_id = node_id
        self._left = False  # this node has left its own before
        self._alone = 0
        self._spell = Spell("another node has this node's --name: give each its own", "no other node has this name now")

    def found(self, node_id: str) -> None:
        """Take note of the node id that was found, or "". The first one may be that of a node that has ended."""
        other = node_id not in ("", self._node_id)
        if other and self._left:
            self._alone = 0
            self._spell.again(name=self._name, uid=self._node_id, other=node_id)
        elif not other:
            self._alone += 1
            if self._alone >= ALONE:
                self._spell.over(name=self._name)
        self._left = True
