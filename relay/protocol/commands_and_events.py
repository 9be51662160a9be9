"""The commands from clients and the events to clients, the same for all dialects.

A dialect parses bytes into commands and renders events as bytes. A session handles commands and emits events.
"""

from msgspec import Struct

from relay.protocol.errors import Code, Presence, Reason
from relay.protocol.frame_errors import NOTHING, About, Ref


class Resume(Struct, frozen=True, gc=False):
    """The state that a JSON client sends to resume its session."""

    token: str
    chat: str | None = None
    sent: int | None = None  # the highest id that it ever used, or None if it doesn't say
    last: int = 0  # the highest partner id that it received in `chat`
    left: str | None = None  # the last chat that it was told is over
    at: float | None = None  # the time of the message `last`, as the client received it


# --- commands: from a client


class Claim(Struct, frozen=True, gc=False):
    """Claim this name: the first line of a text client, or `hello`."""

    name: str
    acks: bool = False  # the client acknowledges messages itself
    resume: Resume | None = None
    ask: bool = False  # the client answers calls itself
    auth: str | None = None  # a signed token for the name


class Call(Struct, frozen=True, gc=False):
    """Start a chat with this user (`To:bob`). `ref`, here and in other requests, is echoed in each answer."""

    name: str
    ref: Ref | None = None


class Say(Struct, frozen=True, gc=False):
    """Send a message to the partner. Without an id the session numbers it."""

    text: str
    id: int | None = None
    chat: str | None = None


class Acknowledge(Struct, frozen=True, gc=False):
    """Acknowledge all messages from the partner up to `id` (`ack`)."""

    id: int
    chat: str | None = None


class Leave(Struct, frozen=True, gc=False):
    """End the chat and keep the name. With `chat`, end only that one."""

    chat: str | None = None
    ref: Ref | None = None


class Who(Struct, frozen=True, gc=False):
    """Ask for a user's presence."""

    name: str
    ref: Ref | None = None


class Ping(Struct, frozen=True, gc=False):
    """Ask for a `pong`."""


class Cancel(Struct, frozen=True, gc=False):
    """Cancel a call that has no outcome yet. With `ref`, cancel only that one."""

    ref: Ref | None = None


class AcceptCall(Struct, frozen=True, gc=False):
    """Accept a call."""

    chat: str | None = None
    ref: Ref | None = None


class DeclineCall(Struct, frozen=True, gc=False):
    """Decline a call."""

    chat: str | None = None
    ref: Ref | None = None


class Block(Struct, frozen=True, gc=False):
    """Refuse this user's calls from now on."""

    name: str
    ref: Ref | None = None


class Unblock(Struct, frozen=True, gc=False):
    """Allow this user's calls again."""

    name: str
    ref: Ref | None = None


class NotifyTyping(Struct, frozen=True, gc=False):
    """Tell the partner that the client's user is typing."""

    chat: str | None = None


class Quit(Struct, frozen=True, gc=False):
    """Release the name and close, after the outcome of all earlier commands, or without waiting for it with `now`."""

    now: bool = False


class EndOfStream(Struct, frozen=True, gc=False):
    """The client will send nothing more (EOF), or its connection is gone. It is handled after all earlier commands."""


class DrainClose(Struct, frozen=True, gc=False):
    """The node shuts down, and this client can't resume elsewhere. The node sends it, after all earlier commands."""


class Noop(Struct, frozen=True, gc=False):
    """A line without a command (an empty text line)."""


class Malformed(Struct, frozen=True, gc=False):
    """A line that couldn't be parsed, with the refusal that takes its turn."""

    code: Code
    message: str
    about: About = NOTHING  # the keys that the refusal echoes


Command = (
    Claim
    | Call
    | Cancel
    | AcceptCall
    | DeclineCall
    | Block
    | Unblock
    | Say
    | NotifyTyping
    | Acknowledge
    | Leave
    | Who
    | Ping
    | Quit
    | EndOfStream
    | DrainClose
    | Noop
    | Malformed
)


# --- events: to a client


class Welcome(Struct, frozen=True, gc=False):
    """The client owns the name now."""

    name: str
    token: str
    resumed: bool
    grace: float  # seconds that a session waits for its disconnected client
    window: int  # messages
    window_bytes: int
    ping: float  # seconds between a client's pings
    node: str
    max_line: int  # bytes of a client's line


class Paired(Struct, frozen=True, gc=False):
    """The client is in a chat with `name`."""

    name: str
    chat: str
    acks: str  # the side that acknowledges for the partner: "client" or "node"
    caller: bool = True  # this side made the call
    resumed: bool = False
    last: int | None = None  # after a resume, the highest of the client's ids that the partner has
    at: float | None = None  # the time of that message, if it is known
    ref: Ref | None = None


class Messages(Struct, frozen=True, gc=False):
    """The partner sent messages: the texts have consecutive ids from `id` on."""

    id: int
    sender: str
    chat: str
    texts: list[str]
    at: float  # Unix time in seconds at which the sender's node first accepted them


class Acked(Struct, frozen=True, gc=False):
    """The partner has all the client's messages of this chat up to `id`, except those reported unconfirmed."""

    id: int
    chat: str
    at: float | None = None  # the time of the message `id`, if it is known


class Unconfirmed(Struct, frozen=True, gc=False):
    """No acknowledgement will come for these ids (inclusive)."""

    first: int
    last: int
    reason: Reason
    texts: tuple[str, ...] = ()  # one for each id, for clients without ids
    chat: str | None = None  # None if the chat isn't known any more


class Away(Struct, frozen=True, gc=False):
    """The partner's connection or node was lost; it may come back within `grace` seconds."""

    name: str
    grace: float
    chat: str


class Back(Struct, frozen=True, gc=False):
    """The partner came back."""

    name: str
    chat: str


class Left(Struct, frozen=True, gc=False):
    """The chat with `name` is over."""

    name: str
    reason: Reason
    chat: str
    own: bool = False  # this client itself left
    ref: Ref | None = None  # the `ref` of the request that ended it


class Known(Struct, frozen=True, gc=False):
    """The answer to `who`."""

    name: str
    state: Presence
    ref: Ref | None = None


class Invited(Struct, frozen=True, gc=False):
    """This user is calling: the client may accept or decline within `wait` seconds."""

    name: str
    chat: str
    wait: float


class Missed(Struct, frozen=True, gc=False):
    """A call is over that was neither accepted nor declined."""

    name: str
    chat: str
    ref: Ref | None = None  # the `ref` of an `AcceptCall` that came too late


class Rings(Struct, frozen=True, gc=False):
    """The called user has been asked, and may answer within `wait` seconds."""

    name: str
    wait: float
    chat: str
    ref: Ref | None = None


class Blocked(Struct, frozen=True, gc=False):
    """This user's calls are blocked from now on, or allowed again."""

    name: str
    on: bool
    ref: Ref | None = None


class PartnerTyping(Struct, frozen=True, gc=False):
    """The partner is typing."""

    name: str
    chat: str


class Moving(Struct, frozen=True, gc=False):
    """This node is shutting down: the client should reconnect and resume elsewhere."""


class Replaced(Struct, frozen=True, gc=False):
    """Another connection has resumed this session, so this one closes."""


class Refused(Struct, frozen=True, gc=False):
    """A command was refused."""

    code: Code
    message: str
    id: int | None = None
    name: str | None = None
    expected: int | None = None  # with bad_order, the id that was expected
    supported: tuple[int, ...] | None = None  # with bad_version, the supported versions
    ref: Ref | None = None


class Pong(Struct, frozen=True, gc=False):
    """The answer to `ping`."""


class Bye(Struct, frozen=True, gc=False):
    """All earlier commands have their outcome, and the connection closes."""


Event = (
    Welcome
    | Paired
    | Messages
    | Acked
    | Unconfirmed
    | Away
    | Back
    | Left
    | Known
    | Invited
    | Missed
    | Rings
    | Blocked
    | PartnerTyping
    | Moving
    | Replaced
    | Refused
    | Pong
    | Bye
)
