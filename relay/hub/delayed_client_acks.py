"""Delayed acknowledgements: they wait for later ones (see `write_buffer`), with one timer for all clients of a node."""

import asyncio
from typing import Final

from relay.hub.name_claims import HubInterface
from relay.session.session import Session

# While more messages of its chat are under way, an acknowledgement waits this long (in seconds) for theirs, and leaves
# with the next event for the client. A client that waits for it before it goes on has nothing else under way, and gets
# it at once.
ACK_PAUSE_SECONDS: Final = 0.01


class DelayedClientAcks:
    """Sends each client its delayed acknowledgement when the time is over, unless it has left with another event."""

    def __init__(self, node: HubInterface) -> None:
        self._node = node
        self._sessions: dict[Session, None] = {}

    def add(self, session: Session) -> None:
        """Note that an acknowledgement for this session's client is delayed."""
        if not self._sessions:
            asyncio.get_running_loop().call_later(ACK_PAUSE_SECONDS, self._tell)
        self._sessions[session] = None

    def _tell(self) -> None:
        sessions, self._sessions = self._sessions, {}
        self._node.open_tick()
        for session in sessions:
            client = session.client
            if client is not None and client.write_buffer.tell_ack():
                self._node.mark_dirty(client)
