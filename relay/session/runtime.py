"""What a session needs from its surroundings, and all that it can do to them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from relay.metrics import Counts
from relay.model import Located
from relay.names.parse import Name
from relay.protocol.errors import Code, Ending
from relay.protocol.events import Claim, Event
from relay.session.partner_nodes import PartnerNodes
from relay.session.peer_messages import Mail, SessionMoved

if TYPE_CHECKING:
    from relay.session.session import Session


class Limits(Struct, frozen=True):
    """The bounds of one session. Times in seconds."""

    grace: float = 30.0  # how long a JSON session waits for its client after its connection broke
    lease: float = 5.0  # how long a half-made pairing may stand when the other node falls silent
    name: float = 60.0  # how long a connection may be without a name
    max_line: int = 65_536  # bytes of a client's line, its LF not counted
    window: int = 256  # messages without acknowledgement: a few hundred cover any round trip at chat speed
    window_bytes: int = 1024 * 1024  # the same in bytes of text
    ping: float = 30.0  # how often a client should ask whether the node still answers
    patience: float = 5.0  # how long a ping waits behind messages that have no outcome yet
    reunion: float = 0.5  # how long a client that comes back waits for its partner's word before it is welcomed
    ask: float = 30.0  # how long a client may take to answer a call, if it answers them itself
    blocks: int = 256  # names that one client may block: more than anyone knows by heart, and some kilobytes
    calls: int = 3_000  # a minute, look-ups included; 0, here and below: any number
    lines: int = 100_000  # a second; beyond it a client is read more slowly
    bytes: int = 64 * 1024 * 1024  # likewise
    # A call without an answer is given up after this, the ways to Redis not counted: "unavailable" within a second.
    call: float = 0.9


class SessionRuntime(Protocol):
    """The shell around sessions. Every method returns at once; answers come as calls of the session or of `then`."""

    node_id: str  # this node
    node: str  # its name, as shown to clients
    limits: Limits
    counts: Counts
    partners: PartnerNodes  # of all its sessions
    authenticates: bool  # a name needs proof, and is its user's on every connection that brings it

    @property
    def now(self) -> float:
        """Unix time of this turn of the loop, in seconds. The clock may step: for spans there is `instant`."""

    @property
    def instant(self) -> float:
        """The same on a clock that never steps, and whose zero means nothing."""

    @property
    def allowance(self) -> int:
        """Bytes that a window may cost now, beside its own bounds: little while the node's memory is short."""

    @property
    def call_seconds(self) -> float:
        """Seconds after which a call without an answer is given up."""

    @property
    def crowded(self) -> bool:
        """The directory answers, but one question after the other: what waits for it takes longer than usual."""

    @property
    def flush_generation(self) -> int:
        """Changes whenever mail leaves: until then messages may join what was posted."""

    def tell(self, session: "Session", event: Event) -> None:
        """Tell the session's client, in order; nobody hears it where the client is gone."""

    def post(self, node_id: str, mail: Mail) -> None:
        """Send mail to a session on that node: once, in order, as long as both nodes live."""

    def send_if_writable(self, session: "Session", event: Event) -> None:
        """Tell the session's client what is only good now: not if it has still to read what it was told before."""

    def moved(self, mail: SessionMoved) -> None:
        """A session that isn't here has moved on. If it is about to be here, have it told then."""

    def post_if_writable(self, node_id: str, mail: Mail) -> None:
        """Send mail that is only good now: it is dropped unless it can leave at once."""

    def admit(self, session: "Session", claim: Claim) -> Code | None:
        """Why the session's client may not ask for this name now, if so. To be asked once for each claim and resume."""

    def admits_call(self, session: "Session") -> bool:
        """Whether the session's client may call, or look, somebody up now. To be asked once for each."""

    def claim(self, session: "Session", name: Name, claim: Claim) -> None:
        """Ask for a name. Ends in `session.claimed` or `session.unclaimed`."""

    def resume(self, session: "Session", name: Name, claim: Claim) -> None:
        """Find the session that the claim's token is for. Ends in `come_back` or `session.unclaimed`."""

    def locate(self, canonical_name: str, then: Callable[[Located | Code], None]) -> None:
        """Find the owner of a name, or say why that can't be known (`unavailable`)."""

    def save(self, session: "Session", then: Callable[[bool], None] | None = None) -> None:
        """Write the session's record. `then(False)`: not now. Without `then` it's written as soon as possible."""

    def release(self, session: "Session", then: Callable[[], None], why: Ending) -> None:
        """Give the session's name back, and forget the session. `then`: that's done, or can't be done now."""

    def forget(self, session: "Session", why: Ending) -> None:
        """The session's name is another's: forget the session."""

    def close(self, session: "Session") -> None:
        """Close the session's connection after what it was told."""

    def called(self, session: "Session") -> None:
        """Somebody called this session's client: what it had said before is not for the caller."""

    def wake(self, session: "Session") -> None:
        """Commands that waited may be handled now."""

    def call_later(self, delay: float, then: Callable[[], None]) -> None:
        """Call `then` after so many seconds. Not to be cancelled: `then` looks whether it still matters."""

    def new_id(self) -> str:
        """An id that nobody else has or can guess."""
