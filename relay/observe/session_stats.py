"""Counts the sessions of this node on request, in batches, so that a hundred thousand of them don't block the loop."""

from typing import Final

import anyio
from msgspec import Struct, field

from relay.hub.hub import Hub
from relay.metrics import Counts
from relay.protocol.errors import Presence
from relay.session.session import Session
from relay.tasks.batches import in_slices

# Sessions counted in one loop iteration, which takes some tenths of a millisecond.
SLICE: Final = 1000
# The interval between two samples of the windows.
WINDOWS_SECONDS: Final = 1.0

NAMELESS: Final = "nameless"  # the session has no name yet, or its claim is pending
DIALECTS: Final = ("text", "json", "websocket", "classic", "unknown")  # unknown until the client's first bytes
STATES: Final = (NAMELESS, Presence.FREE, Presence.BUSY, Presence.AWAY)


class Tally(Struct):
    """The number of sessions at one moment."""

    connections: int = 0
    sessions: dict[tuple[str, str], int] = field(default_factory=dict)  # by dialect and state
    users: int = 0  # sessions with a name
    chatting: int = 0  # users in a chat; the partner may be on another node

    def add(self, session: Session, dialect: str) -> None:
        """Count a session."""
        named = session.named
        key = dialect, session.presence if named else NAMELESS
        self.sessions[key] = self.sessions.get(key, 0) + 1
        self.users += named
        self.chatting += named and session.chat is not None


async def count(hub: Hub) -> Tally:
    """Count all sessions. Many of them take several loop iterations; sessions that change meanwhile may be missed."""
    clients = hub.clients
    tally = Tally(len(clients))
    async for client in in_slices(clients, SLICE):
        tally.add(client.session, client.dialect)
    async for session in in_slices(list(hub.sessions.values()), SLICE):
        if session.client is None and session.named:
            tally.add(session, "json")  # only JSON sessions outlive their connection
    return tally


async def watch_windows(hub: Hub, counts: Counts) -> None:
    """Record how full the windows are that aren't empty, once a second. Never returns."""
    limits = hub.limits
    while True:
        await anyio.sleep(WINDOWS_SECONDS)
        async for client in in_slices(list(hub.memory_holders), SLICE):
            chat = client.session.chat
            if chat is not None and chat.unacked.count:
                window = chat.unacked
                counts.windows.observe(max(window.count / limits.window, window.bytes / limits.window_bytes))
