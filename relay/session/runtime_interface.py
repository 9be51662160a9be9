"""The interface between sessions and the rest of the node: a session has no effect except through it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from relay.metrics import Counts
from relay.names.parse import Name
from relay.protocol.commands_and_events import Claim, Event
from relay.protocol.errors import Code, Ending
from relay.session.memory_budget import MemoryBudget
from relay.session.partner_node_counts import PartnerNodeCounts
from relay.session.peer_messages import Mail, SessionMoved
from relay.shared_types import Located

if TYPE_CHECKING:
    from relay.session.session import Session


class Limits(Struct, frozen=True):
    """The limits of one session. All times are in seconds."""

    grace: float = 30.0  # how long a JSON session waits for its client after the connection broke
    lease: float = 5.0  # how long a half-made pairing may stand when the other node falls silent
    name: float = 60.0  # how long a connection may be without a name
    max_line: int = 65_536  # bytes of a client's line without its LF
    window: int = 256  # messages without acknowledgement: a few hundred cover any round trip at chat speed
    window_bytes: int = 1024 * 1024  # bytes of text without acknowledgement
    ping: float = 30.0  # how often a client should ping the node
    patience: float = 5.0  # how long a ping waits behind messages that have no outcome yet
    reunion: float = 0.5  # how long a resuming client waits for its partner's answer before it is welcomed
    ask: float = 30.0  # how long a client may take to answer a call, if it answers them itself
    blocks: int = 256  # names that one client may block: more than anyone knows by heart, and some kilobytes
    calls: int = 3_000  # calls and look-ups per minute; 0 means no limit, here and below
    lines: int = 100_000  # lines per second; beyond it a client is read more slowly
    bytes: int = 64 * 1024 * 1024  # bytes per second, likewise
    # A call without an answer is given up after this, beside the round trips to Redis: "unavailable" within a second.
    call: float = 0.9


class SessionRuntime(Protocol):
    """The surroundings of sessions. Every method returns at once. Answers call a method of the session, or `then`."""

    node_id: str  # the id of this node
    node: str  # the name of this node, as shown to clients
    limits: Limits
    counts: Counts
    partner_node_counts: PartnerNodeCounts  # the partners of all its sessions
    memory_budget: MemoryBudget  # its allowance bounds windows while memory is short
    authenticates: bool  # a name needs a proof, and any connection with the proof may claim it

    @property
    def now(self) -> float:
        """Unix time of this tick, in seconds. The clock may step, so durations are measured by `instant`."""

    @property
    def instant(self) -> float:
        """Time of this tick in seconds, on a monotonic clock with an arbitrary zero."""

    @property
    def call_seconds(self) -> float:
        """Seconds after which a call without an answer is given up."""

    @property
    def crowded(self) -> bool:
        """Return whether the directory answers but requests queue for it, so that they take longer than usual."""

    @property
    def flush_generation(self) -> int:
        """A number that changes whenever peer messages leave. Until then messages may be added to a posted `Text`."""

    def tell(self, session: "Session", event: Event) -> None:
        """Send an event to the session's client, in order. If the client is gone, the event is dropped."""

    def post(self, node_id: str, mail: Mail) -> None:
        """Send a peer message to a session on that node. It arrives once and in order as long as both nodes live."""

    def send_if_writable(self, session: "Session", event: Event) -> None:
        """Send an event that is only useful now to the session's client. It is dropped if earlier events still wait."""

    def moved(self, mail: SessionMoved) -> None:
        """Another node took this session over. If our own takeover is in flight, deliver this once it completes."""

    def post_if_writable(self, node_id: str, mail: Mail) -> None:
        """Send a peer message that is only useful now. It is dropped unless it can leave at once."""

    def admit(self, session: "Session", claim: Claim) -> Code | None:
        """Return why the session's client may not ask for this name now, or None if it may.

        This must be called exactly once for each claim and each resume, because each call counts.
        """

    def admits_call(self, session: "Session") -> bool:
        """Return whether the session's client may call or look up a user now. This must be called once for each."""

    def claim(self, session: "Session", name: Name, claim: Claim) -> None:
        """Ask for a name. The answer calls `session.claimed` or `session.unclaimed`."""

    def resume(self, session: "Session", name: Name, claim: Claim) -> None:
        """Find the session of the claim's token. The answer calls `come_back` or `session.unclaimed`."""

    def locate(self, canonical_name: str, then: Callable[[Located | Code], None]) -> None:
        """Find the owner of a name. `then` gets it, or `unavailable` if the directory can't be asked."""

    def save(self, session: "Session", then: Callable[[bool], None] | None = None) -> None:
        """Write the session's record as it is at write time. Calls `then(False)` if it failed and will be retried."""

    def release(self, session: "Session", then: Callable[[], None], why: Ending) -> None:
        """Give the session's name back, and forget the session. Calls `then` once that is done or failed for now."""

    def forget(self, session: "Session", why: Ending) -> None:
        """Forget the session without giving its name back, because another session owns it."""

    def close(self, session: "Session") -> None:
        """Close the session's connection once everything that it was told has been written."""

    def called(self, session: "Session") -> None:
        """Note that a user called this session's client: lines that the client sent before aren't for the caller."""

    def wake(self, session: "Session") -> None:
        """Handle the session's waiting commands at the end of this tick, if it isn't blocked any more."""

    def call_later(self, delay: float, then: Callable[[], None]) -> None:
        """Call `then` after `delay` seconds. It can't be cancelled: `then` checks whether it still matters."""

    def new_id(self) -> str:
        """Return a unique id that nobody can guess."""
