"""What a client can ask for (commands) and what it can be told (events), the same for all dialects.

A dialect turns bytes into commands and events into bytes; a session turns commands into events.
"""

from msgspec import Struct

from relay.protocol.errors import Code, Presence, Reason
from relay.protocol.frame_errors import NOTHING, About, Ref


class Resume(Struct, frozen=True, gc=False):
    """What a JSON client knows of the session that it wants back."""

    token: str
    chat: str | None = None
    sent: int | None = None  # the highest id it ever used; None: it doesn't say
    last: int = 0  # the highest partner id it received in `chat`
    left: str | None = None  # the last chat that it was told is over
    at: float | None = None  # when `last` was said, as it was told


# --- commands: from a client


class Claim(Struct, frozen=True, gc=False):
    """Own this name. The first line of a text client, or `hello`."""

    name: str
    acks: bool = False  # the client acknowledges messages itself
    resume: Resume | None = None
    ask: bool = False  # the client answers calls itself
    auth: str | None = None  # what proves that the client may have the name


class Call(Struct, frozen=True, gc=False):
    """Start a chat with this user (`To:bob`). `ref`, here and in other requests: to be told with each answer."""

    name: str
    ref: Ref | None = None


class Say(Struct, frozen=True, gc=False):
    """A message to the partner. Without an id the session numbers it."""

    text: str
    id: int | None = None
    chat: str | None = None


class Acknowledge(Struct, frozen=True, gc=False):
    """Everything from the partner up to `id` has been taken care of (`ack`)."""

    id: int
    chat: str | None = None


class Leave(Struct, frozen=True, gc=False):
    """End the chat, keep the name. With `chat`: only if it is that one."""

    chat: str | None = None
    ref: Ref | None = None


class Who(Struct, frozen=True, gc=False):
    """Ask for somebody's presence."""

    name: str
    ref: Ref | None = None


class Ping(Struct, frozen=True, gc=False):
    """Ask for a `pong`."""


class Cancel(Struct, frozen=True, gc=False):
    """Give up a call that has no outcome yet; with `ref`, only if it is that one."""

    ref: Ref | None = None


class AcceptCall(Struct, frozen=True, gc=False):
    """Take a call."""

    chat: str | None = None
    ref: Ref | None = None


class DeclineCall(Struct, frozen=True, gc=False):
    """Don't take a call."""

    chat: str | None = None
    ref: Ref | None = None


class Block(Struct, frozen=True, gc=False):
    """Refuse this user's calls from now on."""

    name: str
    ref: Ref | None = None


class Unblock(Struct, frozen=True, gc=False):
    """Let this user call again."""

    name: str
    ref: Ref | None = None


class Type(Struct, frozen=True, gc=False):
    """The client's user is typing."""

    chat: str | None = None


class Quit(Struct, frozen=True, gc=False):
    """Give the name back and close, after everything before; `now`: without waiting for the outcome of that."""

    now: bool = False


class EndOfStream(Struct, frozen=True, gc=False):
    """The client will send nothing more (EOF), or its connection is gone; after everything before."""


class DrainClose(Struct, frozen=True, gc=False):
    """Not a client's: the node goes away, and this client can't go on elsewhere; after everything before."""


class Noop(Struct, frozen=True, gc=False):
    """A line that asks for nothing (an empty text line)."""


class Malformed(Struct, frozen=True, gc=False):
    """A line that could not be understood: the refusal to give in its turn."""

    code: Code
    message: str
    about: About = NOTHING  # what the refusal echoes


Command = (
    Claim
    | Call
    | Cancel
    | AcceptCall
    | DeclineCall
    | Block
    | Unblock
    | Say
    | Type
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
    """The name is yours."""

    name: str
    token: str
    resumed: bool
    grace: float  # seconds that a broken session waits for its client
    window: int  # messages
    window_bytes: int
    ping: float  # seconds between a client's pings
    node: str
    max_line: int  # bytes of a client's line


class Paired(Struct, frozen=True, gc=False):
    """You are in a chat with `name`."""

    name: str
    chat: str
    acks: str  # who acknowledges on the other side: "client" or "node"
    caller: bool = True  # this side made the call
    resumed: bool = False
    last: int | None = None  # after a resume: the highest of your ids that the partner has
    at: float | None = None  # when that one was said, where it is known
    ref: Ref | None = None


class Messages(Struct, frozen=True, gc=False):
    """The partner said something: texts with consecutive ids from `id` on."""

    id: int
    sender: str
    chat: str
    texts: list[str]
    at: float  # Unix time in seconds at which the sender's node first took them


class Acked(Struct, frozen=True, gc=False):
    """The partner has all your messages of this chat up to `id`, except those reported unconfirmed."""

    id: int
    chat: str
    at: float | None = None  # when the message `id` was said, where it is known


class Unconfirmed(Struct, frozen=True, gc=False):
    """No acknowledgement will come for these ids (inclusive)."""

    first: int
    last: int
    reason: Reason
    texts: tuple[str, ...] = ()  # one for each id, for clients that know no ids
    chat: str | None = None  # None: nobody remembers which


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
    own: bool = False  # told to the one who left
    ref: Ref | None = None  # of the request that ended it


class Known(Struct, frozen=True, gc=False):
    """The answer to `who`."""

    name: str
    state: Presence
    ref: Ref | None = None


class Invited(Struct, frozen=True, gc=False):
    """This user calls: accept or decline within `wait` seconds."""

    name: str
    chat: str
    wait: float


class Missed(Struct, frozen=True, gc=False):
    """A call that was neither accepted nor declined is over."""

    name: str
    chat: str
    ref: Ref | None = None  # of an `AcceptCall` that came too late


class Rings(Struct, frozen=True, gc=False):
    """The user who was called is being asked, for `wait` seconds at most."""

    name: str
    wait: float
    chat: str
    ref: Ref | None = None


class Blocked(Struct, frozen=True, gc=False):
    """This user's calls are refused from now on, or not any more."""

    name: str
    on: bool
    ref: Ref | None = None


class Types(Struct, frozen=True, gc=False):
    """The partner is typing."""

    name: str
    chat: str


class Moving(Struct, frozen=True, gc=False):
    """This node is going away: reconnect and resume elsewhere."""


class Replaced(Struct, frozen=True, gc=False):
    """Another connection resumed this session; this one closes."""


class Refused(Struct, frozen=True, gc=False):
    """An error about what the client asked for."""

    code: Code
    message: str
    id: int | None = None
    name: str | None = None
    expected: int | None = None  # bad_order: the id that should have come
    supported: tuple[int, ...] | None = None  # bad_version
    ref: Ref | None = None


class Pong(Struct, frozen=True, gc=False):
    """The answer to `ping`."""


class Bye(Struct, frozen=True, gc=False):
    """The outcome of everything before has been told; the connection closes."""


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
    | Types
    | Moving
    | Replaced
    | Refused
    | Pong
    | Bye
)
