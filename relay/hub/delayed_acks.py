"""Acknowledgements that wait for more to join them (see `write_buffer`): one timer for all clients of a node."""

import asyncio
from typing import Final

from relay.hub.name_claims import Owner
from relay.session.session import Session

# While more messages of its chat are under way, an acknowledgement waits so long for theirs, and goes with whatever is
# told first. Who waits for it before going on has nothing else under way, and gets it at once.
ACK_PAUSE_SECONDS: Final = 0.01


class DelayedAcks:
    """Has each client told what is held back from it, if nothing else has caused that before."""

    def __init__(self, node: Owner) -> None:
        self._node = node
        self._sessions: set[Session] = set()

    def add(self, session: Session) -> None:
        """An acknowledgement is held back from this session's client from now on."""
        if not self._sessions:
            asyncio.get_running_loop().call_later(ACK_PAUSE_SECONDS, self._tell)
        self._sessions.add(session)

    def _tell(self) -> None:
        sessions, self._sessions = self._sessions, set()
        self._node.open_tick()
        for session in sessions:
            client = session.client
            if client is not None and client.write_buffer.tell_ack():
                self._node.mark_dirty(client)
