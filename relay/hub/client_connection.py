"""What the sessions of a node need of a connection."""

from collections.abc import Sized
from typing import Protocol

from relay.hub.rate_limit import Pace
from relay.protocol.events import Event
from relay.session.session import Session


class ClientWriter(Protocol):
    """Takes what a client is told, in order."""

    @property
    def behind(self) -> bool:
        """Whether the client has still to read what it was told before."""

    def tell(self, event: Event) -> bool:
        """Add an event to what the client is told. Returns False if no flush is needed: the ack was held back."""

    def tell_ack(self) -> bool:
        """Add the acknowledgement that was held back. Returns False if there is none."""


class Outlet(Protocol):
    """The connection of a session's client."""

    pace: Pace  # how much it may ask for

    session: Session  # that it is the client of

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

    def serve(self, session: Session) -> None:
        """Be the client of this session from now on."""

    @property
    def hung_up(self) -> bool:
        """The client sends nothing more, and may be gone."""
