"""Tells the sessions here of the death and return of other nodes."""

import structlog

from relay.bus.bus import Bus
from relay.hub.name_claims import HubInterface
from relay.session import resume

log = structlog.get_logger()


class PeerNodeLoss:
    """The other nodes, where partners of sessions here may live."""

    def __init__(self, hub: HubInterface, bus: Bus) -> None:
        self._hub = hub
        self._bus = bus

    def partner_nodes(self) -> set[str]:
        """Return the ids of the other nodes that hold a partner of a session here."""
        return set(self._hub.partner_node_counts.nodes) - {self._hub.node_id}

    def watched(self) -> set[str]:
        """Return the ids of the nodes whose death matters here: they hold a partner, or have to acknowledge frames."""
        return self.partner_nodes() | self._bus.waiting()

    def lost(self, node_id: str, since: float) -> None:
        """Handle the death of a node `since` seconds ago: its text users are gone, its JSON users may come back."""
        log.warning("node lost", uid=node_id, seconds=round(since, 2))
        self._hub.open_tick()
        self._bus.forget(node_id)
        for session in list(self._hub.sessions.values()):
            session.node_lost(node_id, since)
            self._hub.wake(session)

    def back(self, node_id: str) -> None:
        """Ask each partner on a node that wasn't dead, because its messages since then were lost with the link."""
        log.warning("node back", uid=node_id)
        self._hub.open_tick()
        for session in list(self._hub.sessions.values()):
            resume.ask_partner_on(session, node_id)

    def peer_forgot_us(self, node_id: str) -> None:
        """Ask each partner on a node that had given this one up, because messages to that node were lost."""
        self._hub.open_tick()
        for session in self._hub.sessions.values():
            resume.ask_partner_on(session, node_id)
