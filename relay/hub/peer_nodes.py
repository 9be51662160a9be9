"""What the life and death of other nodes means to the sessions here."""

import structlog

from relay.bus.bus import Bus
from relay.hub.name_claims import Owner
from relay.session import resume

log = structlog.get_logger()


class PeerNodes:
    """The other nodes, as the partners of somebody here may live there."""

    def __init__(self, node: Owner, bus: Bus) -> None:
        self._node = node
        self._bus = bus

    def partners(self) -> set[str]:
        """The nodes that hold a partner of someone here."""
        return set(self._node.partners.nodes) - {self._node.node_id}

    def watched(self) -> set[str]:
        """The nodes whose death matters here."""
        return self.partners() | self._bus.waiting()

    def lost(self, node_id: str, since: float) -> None:
        """That node is dead, for so many seconds: its text users are gone, its JSON users may come back elsewhere."""
        log.warning("node lost", uid=node_id, seconds=round(since, 2))
        self._node.open_tick()
        self._bus.forget(node_id)
        for session in list(self._node.sessions.values()):
            session.node_lost(node_id, since)
            self._node.wake(session)

    def back(self, node_id: str) -> None:
        """That node wasn't dead. What it had to say meanwhile went with the link: ask after each partner there."""
        log.warning("node back", uid=node_id)
        self._node.open_tick()
        for session in list(self._node.sessions.values()):
            resume.ask_partner_on(session, node_id)

    def forgot(self, node_id: str) -> None:
        """That node had given us up, mail to it was lost: settle with each partner there what it has."""
        self._node.open_tick()
        for session in self._node.sessions.values():
            resume.ask_partner_on(session, node_id)
