"""The interface of a client's connection. A session only keeps the connection; its runtime uses it."""

from collections.abc import Sized
from typing import TYPE_CHECKING, Protocol

from relay.protocol.commands_and_events import Event

if TYPE_CHECKING:
    from relay.session.session import Session


class RequestLimits(Protocol):
    """Limits how much a client may ask for. Each call of a method counts as one request."""

    def may_claim(self, now: float) -> bool:
        """Return whether the client may ask for a name now."""

    def may_call(self, now: float) -> bool:
        """Return whether the client may call or look up a user now."""


class ClientWriter(Protocol):
    """Takes the events for a client and writes them in order."""

    @property
    def behind(self) -> bool:
        """Return whether earlier events wait because the client hasn't read them."""

    @property
    def size(self) -> int:
        """Bytes that aren't written yet."""

    def tell(self, event: Event) -> bool:
        """Add an event for the client. Returns False if no flush is needed (the ack was delayed)."""

    def tell_ack(self) -> bool:
        """Add the delayed acknowledgement. Returns False if there is none."""


class ClientConnection(Protocol):
    """The connection of a session's client."""

    session: "Session"  # the session that this connection serves

    @property
    def rate_limiter(self) -> RequestLimits:
        """The limits of its claims and calls."""

    @property
    def peer(self) -> str:
        """The client's address and port; empty if it has none."""

    @property
    def dialect(self) -> str:
        """The client's dialect: `text`, `json`, `websocket`, `classic`, or `unknown` until its first bytes show it."""

    @property
    def write_buffer(self) -> ClientWriter:
        """The buffer that takes the events for the client."""

    def end_tick(self) -> None:
        """Handle the waiting lines until the session is blocked, and write the events for the client."""

    @property
    def lines(self) -> Sized:
        """The client's lines that wait to be handled."""

    def close(self) -> None:
        """Close the connection once everything that was told before has been written."""

    def check_tcp_peer(self) -> None:
        """Close the connection if the kernel reports that the client's machine doesn't answer any more."""

    def called(self) -> None:
        """Note that the waiting lines were written before the next partner was announced, so they aren't for it."""

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that this client's messages and replies hold at the moment."""

    def serve(self, session: "Session") -> None:
        """Serve this session from now on."""

    @property
    def hung_up(self) -> bool:
        """Return whether the client has closed its sending side, and so may be gone."""
