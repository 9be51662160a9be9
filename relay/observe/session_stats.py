"""Who is on this node: looked at when somebody asks, in slices, so that a hundred thousand users hold nobody up."""

from typing import Final

import anyio
from msgspec import Struct, field

from relay.hub.hub import Hub
from relay.metrics import Counts
from relay.protocol.errors import Presence
from relay.session.session import Session
from relay.tasks.batches import in_slices

# Looked at in one turn of the loop: some tenths of a millisecond.
SLICE: Final = 1000
# How often windows are looked at.
WINDOWS_SECONDS: Final = 1.0

NAMELESS: Final = "nameless"  # no name yet, or the answer is still to come
DIALECTS: Final = ("text", "json", "classic", "unknown")  # unknown: nothing was said yet
STATES: Final = (NAMELESS, Presence.FREE, Presence.BUSY, Presence.AWAY)


class Tally(Struct):
    """Sessions at one moment."""

    connections: int = 0
    sessions: dict[tuple[str, str], int] = field(default_factory=dict)  # by dialect and state
    users: int = 0  # with a name
    chatting: int = 0  # in a chat: two to a pair, of whom one may be on another node

    def add(self, session: Session, dialect: str) -> None:
        """Count a session."""
        named = session.named
        key = dialect, session.presence if named else NAMELESS
        self.sessions[key] = self.sessions.get(key, 0) + 1
        self.users += named
        self.chatting += named and session.chat is not None


async def count(hub: Hub) -> Tally:
    """Count everyone. Takes some turns of the loop where there are many; who comes or goes meanwhile may be missed."""
    clients = hub.clients
    tally = Tally(len(clients))
    async for client in in_slices(clients, SLICE):
        tally.add(client.session, client.dialect)
    async for session in in_slices(list(hub.sessions.values()), SLICE):
        if session.client is None and session.named:
            tally.add(session, "json")  # the only ones that outlive their connection
    return tally


async def watch_windows(hub: Hub, counts: Counts) -> None:
    """For ever: note how full those windows are in which there is something."""
    limits = hub.limits
    while True:
        await anyio.sleep(WINDOWS_SECONDS)
        async for client in in_slices(list(hub.holding), SLICE):
            chat = client.session.chat
            if chat is not None and chat.window.count:
                window = chat.window
                counts.windows.observe(max(window.count / limits.window, window.bytes / limits.window_bytes))
