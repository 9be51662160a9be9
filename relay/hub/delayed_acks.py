"""Those who hold an acknowledgement back for a moment (`write_buffer`): one timer for all clients of a node."""

import asyncio
from typing import Final

from relay.hub.name_claims import Owner
from relay.session.client_connection import Outlet

# While more messages of its chat are under way, an acknowledgement waits so long for theirs, and goes with whatever is
# told first. Who waits for it before going on has nothing else under way, and gets it at once.
ACK_PAUSE_SECONDS: Final = 0.01


class Held:
    """Has each tell what it holds back, if nothing else has made it do so before."""

    def __init__(self, node: Owner) -> None:
        self._node = node
        self._outlets: set[Outlet] = set()

    def add(self, outlet: Outlet) -> None:
        """This one holds something back from now on."""
        if not self._outlets:
            asyncio.get_running_loop().call_later(ACK_PAUSE_SECONDS, self._tell)
        self._outlets.add(outlet)

    def _tell(self) -> None:
        outlets, self._outlets = self._outlets, set()
        self._node.begin()
        for outlet in outlets:
            if outlet.tell_ack():
                self._node.touch(outlet)
