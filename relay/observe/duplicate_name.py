"""Whether another node has this one's name: operators take the two for one, and `relay drain` can't tell them apart."""

from typing import Final

from relay.logs import Spell

# So many reports in a row without a trace of another node, and there is none any more.
ALONE: Final = 3


class DuplicateName:
    """Each node leaves its uid in one place for each name, again and again, and sees whose was there before."""

    def __init__(self, name: str, node_id: str) -> None:
        self._name = name
        self._node_id = node_id
        self._left = False  # this node has left its own before
        self._alone = 0
        self._spell = Spell("another node has this node's --name: give each its own", "no other node has this name now")

    def found(self, node_id: str) -> None:
        """This one's was there; empty: none. At first it may be of a node that has ended."""
        other = node_id not in ("", self._node_id)
        if other and self._left:
            self._alone = 0
            self._spell.again(name=self._name, uid=self._node_id, other=node_id)
        elif not other:
            self._alone += 1
            if self._alone >= ALONE:
                self._spell.over(name=self._name)
        self._left = True
