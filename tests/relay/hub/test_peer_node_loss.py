"""The nodes whose death concerns a node with many users: they are counted, so that no death needs a search."""

from collections import UserDict
from types import SimpleNamespace
from typing import Any, NoReturn

from relay.hub.peer_node_loss import PeerNodeLoss
from relay.session.partner_node_counts import NO_TIES, PartnerNodeCounts

HERE, THERE, OTHER, LINKED = (digit * 16 for digit in "1234")


class Untouched(UserDict[str, Any]):
    """Many sessions, which nobody may iterate over."""

    def __iter__(self) -> NoReturn:
        raise AssertionError("looked at all sessions")


def test_nobody_looks_at_all_sessions() -> None:
    node: Any = SimpleNamespace(node_id=HERE, sessions=Untouched(), partner_node_counts=PartnerNodeCounts())
    bus: Any = SimpleNamespace(waiting=lambda: {LINKED})
    for ties in ((THERE, None), (None, OTHER), (HERE, None)):
        node.partner_node_counts.change(NO_TIES, ties)
    assert PeerNodeLoss(node, bus).partner_nodes() == {THERE, OTHER}
    assert PeerNodeLoss(node, bus).watched() == {THERE, OTHER, LINKED}


def test_a_node_is_a_neighbour_until_the_last_partner_there_is_gone() -> None:
    partners = PartnerNodeCounts()
    partners.change(NO_TIES, (THERE, None))
    partners.change(NO_TIES, (THERE, OTHER))
    assert (partners.nodes, partners.chatting) == ({THERE, OTHER}, 2)
    partners.change((THERE, OTHER), (OTHER, None))
    assert (partners.nodes, partners.chatting) == ({THERE, OTHER}, 2)
    partners.change((THERE, None), NO_TIES)
    partners.change((OTHER, None), NO_TIES)
    assert (partners.nodes, partners.chatting) == (set(), 0)
