"""What a node needs of a client's connection. A session only keeps it, for its host."""

from collections.abc import Sized
from typing import TYPE_CHECKING, Protocol

from relay.protocol.events import Event

if TYPE_CHECKING:
    from relay.session.session import Session


class RequestLimits(Protocol):
    """How much a client may ask for. Each question counts."""

    def may_claim(self, now: float) -> bool:
        """Whether it may ask for a name now."""

    def may_call(self, now: float) -> bool:
        """Whether it may call, or look, somebody up now."""


class ClientWriter(Protocol):
    """Takes what a client is told, in order."""

    @property
    def behind(self) -> bool:
        """Whether the client has still to read what it was told before."""

    def tell(self, event: Event) -> bool:
        """Add an event to what the client is told. Returns False if no flush is needed: the ack was held back."""

    def tell_ack(self) -> bool:
        """Add the acknowledgement that was held back. Returns False if there is none."""


class ClientConnection(Protocol):
    """The connection of a session's client."""

    session: "Session"  # that it is the client of

    @property
    def rate_limiter(self) -> RequestLimits:
        """What bounds its claims and calls."""

    @property
    def peer(self) -> str:
        """The client's address and port; empty where it has none."""

    @property
    def dialect(self) -> str:
        """What the client speaks: `text`, `json`, `classic`, or `unknown` as long as it has said nothing."""

    @property
    def write_buffer(self) -> ClientWriter:
        """Where the client is told things."""

    def settle(self) -> None:
        """Handle lines that wait, as far as the session lets them; write what the client is told."""

    @property
    def lines(self) -> Sized:
        """What the client said and waits for its turn."""

    def close(self) -> None:
        """Close after that."""

    def check_peer(self) -> None:
        """Give the connection up if its peer is gone."""

    def called(self) -> None:
        """Lines that wait were not written to the partner that is announced next."""

    @property
    def held_bytes(self) -> int:
        """Memory that this client's messages and replies hold at the moment."""

    def serve(self, session: "Session") -> None:
        """Be the client of this session from now on."""

    @property
    def hung_up(self) -> bool:
        """The client sends nothing more, and may be gone."""
