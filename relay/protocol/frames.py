"""The frames of the JSON dialect, shared by the node and the client: `docs/protocol.md` in types.

A frame is one JSON object on one line. Decoding is strict: whatever a peer sends either becomes a frame of the
declared types or raises `BadFrame`, and nothing else. Unknown fields are ignored; `null` counts as an optional field
left out, because many JSON libraries write it that way. Names are not judged here.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field
from msgspec.json import Decoder, Encoder

from relay.protocol.frame_errors import MAX_ID as MAX_ID
from relay.protocol.frame_errors import MAX_REF as MAX_REF
from relay.protocol.frame_errors import REFUSALS, Ref, bad_frame
from relay.protocol.frame_errors import SUPPORTED as SUPPORTED
from relay.protocol.frame_errors import VERSION as VERSION
from relay.protocol.frame_errors import BadFrame as BadFrame

Id = Annotated[int, Meta(ge=1, le=MAX_ID)]
IdOrNone = Annotated[int, Meta(ge=0, le=MAX_ID)]  # 0: none yet


class _Frame(Struct, tag_field="type", omit_defaults=True, frozen=True, gc=False):
    """What all frames share. They hold no containers that could form a cycle, hence `gc=False`."""


def _version() -> Literal[1]:
    return VERSION


# --- client to node


class ClientHello(_Frame, tag="hello", frozen=True, kw_only=True):
    """Claim a name; with `token`, resume a session."""

    # A default factory, because `omit_defaults` would leave a plain default out and the version must be on the wire.
    v: Literal[1] = field(default_factory=_version)
    name: str
    acks: bool = False  # this client acknowledges messages itself
    token: str | None = None
    chat: str | None = None
    sent: IdOrNone | None = None  # the highest id ever used
    last: IdOrNone = 0  # the highest partner id received in `chat`
    at: float | None = None  # the time of that message, as it came
    left: str | None = None  # the last chat that this client was told is over
    ask: bool = False  # this client accepts or declines calls itself
    auth: str | None = None  # a signed token for the name, where the relay wants one


class ClientTo(_Frame, tag="to", frozen=True):
    """Start a chat. `ref`, here and in other requests, comes back in every answer."""

    name: str
    ref: Ref | None = None


class ClientCancel(_Frame, tag="cancel", frozen=True):
    """Give up a call that has no outcome yet; with `ref`, only if it is that one."""

    ref: Ref | None = None


class ClientAccept(_Frame, tag="accept", frozen=True):
    """Take a call; without `chat`, whichever there is."""

    chat: str | None = None
    ref: Ref | None = None


class ClientDecline(_Frame, tag="decline", frozen=True):
    """Don't take a call."""

    chat: str | None = None
    ref: Ref | None = None


class ClientBlock(_Frame, tag="block", frozen=True):
    """Refuse somebody's calls as long as the session lives."""

    name: str
    ref: Ref | None = None


class ClientUnblock(_Frame, tag="unblock", frozen=True):
    """Let somebody call again."""

    name: str
    ref: Ref | None = None


class ClientTyping(_Frame, tag="typing", frozen=True):
    """The user is typing; without `chat`, to the present partner."""

    chat: str | None = None


class ClientMsg(_Frame, tag="msg", frozen=True):
    """A message to the partner; without `chat`, to the chat last announced on this connection."""

    id: Id
    text: Annotated[str, Meta(min_length=1)]
    chat: str | None = None


class ClientAck(_Frame, tag="ack", frozen=True):
    """Everything from the partner up to `id` has been taken care of."""

    id: Id
    chat: str | None = None


class ClientLeave(_Frame, tag="leave", frozen=True):
    """End the chat, keep the name; with `chat`, only if it is that one."""

    chat: str | None = None
    ref: Ref | None = None


class ClientWho(_Frame, tag="who", frozen=True):
    """Ask for somebody's presence."""

    name: str
    ref: Ref | None = None


class ClientPing(_Frame, tag="ping", frozen=True):
    """Ask for a `pong`."""


class ClientQuit(_Frame, tag="quit", frozen=True):
    """Give the name back and close; `now`: without waiting for the outcome of what was said before."""

    now: bool = False


ClientFrame = (
    ClientHello
    | ClientTo
    | ClientCancel
    | ClientAccept
    | ClientDecline
    | ClientBlock
    | ClientUnblock
    | ClientMsg
    | ClientTyping
    | ClientAck
    | ClientLeave
    | ClientWho
    | ClientPing
    | ClientQuit
)


# --- node to client. Codes, reasons and states are plain strings, so that a client outlives a catalogue that grows.


class NodeWelcome(_Frame, tag="welcome", frozen=True):
    """The name is yours; `token` resumes the session on any node."""

    v: int
    name: str
    token: str
    resumed: bool
    grace: float  # seconds
    window: int  # messages
    window_bytes: int
    ping: float  # seconds
    node: str
    max_line: int | None = None  # bytes of the longest line that the node takes, its LF not counted


class NodePaired(_Frame, tag="paired", frozen=True):
    """You are in a chat with `name`."""

    name: str
    chat: str
    acks: str  # who acknowledges on the other side: "client" or "node"
    resumed: bool
    last: IdOrNone | None = None  # after a resume: the highest of your ids that the partner has
    at: float | None = None  # beside `last`, where it is known: when that one was said
    ref: Ref | None = None


class NodeMsg(_Frame, tag="msg", frozen=True):
    """The partner said something; `id` is the sender's, `at` the Unix time in seconds at which its node took it."""

    id: Id
    sender: str = field(name="from")
    chat: str
    text: str
    at: float


class NodeAck(_Frame, tag="ack", frozen=True):
    """The partner has all your messages of this chat up to `id`, except those reported unconfirmed."""

    id: Id
    chat: str
    at: float | None = None  # the time of the message `id`, as the partner was told


class NodeUnconfirmed(_Frame, tag="unconfirmed", frozen=True):
    """No acknowledgement will come for these ids (both ends inclusive)."""

    first: Id = field(name="from")
    last: Id = field(name="to")
    reason: str
    chat: str | None = None  # None: nobody remembers which chat they belonged to


class NodeAway(_Frame, tag="away", frozen=True):
    """The partner was lost and may come back within `grace` seconds."""

    name: str
    grace: float
    chat: str | None = None


class NodeBack(_Frame, tag="back", frozen=True):
    """The partner came back."""

    name: str
    chat: str | None = None


class NodeLeft(_Frame, tag="left", frozen=True):
    """The chat is over."""

    name: str
    reason: str
    chat: str | None = None
    ref: Ref | None = None  # of the request that ended it


class NodePresence(_Frame, tag="presence", frozen=True):
    """The answer to `who`."""

    name: str
    state: str
    ref: Ref | None = None


class NodeInvited(_Frame, tag="invited", frozen=True):
    """This user calls: accept or decline within `wait` seconds."""

    name: str
    chat: str
    wait: float


class NodeMissed(_Frame, tag="missed", frozen=True):
    """The call is over, unanswered."""

    name: str
    chat: str
    ref: Ref | None = None  # of an `accept` that came too late


class NodeRinging(_Frame, tag="ringing", frozen=True):
    """The user who was called is being asked, for `wait` seconds at most."""

    name: str
    wait: float
    chat: str | None = None  # that the call will make if it is taken
    ref: Ref | None = None


class NodeBlocked(_Frame, tag="blocked", frozen=True):
    """This user's calls are refused from now on."""

    name: str
    ref: Ref | None = None


class NodeUnblocked(_Frame, tag="unblocked", frozen=True):
    """This user may call again."""

    name: str
    ref: Ref | None = None


class NodeTyping(_Frame, tag="typing", frozen=True):
    """The partner is typing. Nothing follows when that ends."""

    name: str
    chat: str


class NodeMoving(_Frame, tag="moving", frozen=True):
    """This node is draining: reconnect and resume elsewhere."""


class NodeReplaced(_Frame, tag="replaced", frozen=True):
    """Another connection resumed this session; this one closes."""


class NodeError(_Frame, tag="error", frozen=True):
    """A refusal; `id`, `name` or `ref` say of what, where the refused frame had one."""

    code: str
    message: str
    id: int | None = None
    name: str | None = None
    expected: int | None = None  # bad_order: the id that should have come
    supported: tuple[int, ...] | None = None  # bad_version
    ref: Ref | None = None


class NodePong(_Frame, tag="pong", frozen=True):
    """The answer to `ping`."""


class NodeBye(_Frame, tag="bye", frozen=True):
    """The outcome of everything before has been told; the connection closes."""


NodeFrame = (
    NodeWelcome
    | NodePaired
    | NodeMsg
    | NodeAck
    | NodeUnconfirmed
    | NodeAway
    | NodeBack
    | NodeLeft
    | NodePresence
    | NodeInvited
    | NodeMissed
    | NodeRinging
    | NodeBlocked
    | NodeUnblocked
    | NodeTyping
    | NodeMoving
    | NodeReplaced
    | NodeError
    | NodePong
    | NodeBye
)


# --- bytes to frames and back

# The lines for all of them; raises as `encode` does. No function of ours: it's on the way of every message.
encode_all: Final[Callable[[Sequence["ClientFrame | NodeFrame"]], bytes]] = Encoder().encode_lines
_CLIENT: Final[Decoder[ClientFrame]] = Decoder(ClientFrame)
_NODE: Final[Decoder[NodeFrame]] = Decoder(NodeFrame)


def encode(frame: ClientFrame | NodeFrame) -> bytes:
    """The line for `frame`, its LF included. Raises UnicodeEncodeError for text that holds a lone surrogate."""
    return encode_all((frame,))


def decode_client(line: bytes) -> ClientFrame:
    """The frame on a client's line (its LF may be stripped). Raises BadFrame, and nothing else."""
    try:
        if not line.isascii():
            line.decode()  # msgspec doesn't look at the encoding of fields that it skips
        return _CLIENT.decode(line)
    except REFUSALS as error:
        raise bad_frame(line, error) from None


def decode_node(line: bytes) -> NodeFrame:
    """The frame on a node's line (its LF may be stripped). Raises BadFrame, and nothing else."""
    try:
        if not line.isascii():
            line.decode()  # as above
        return _NODE.decode(line)
    except REFUSALS as error:
        raise bad_frame(line, error) from None
