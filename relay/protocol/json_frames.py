"""The frames of the JSON dialect as types, shared by the node and the client (`docs/protocol.md`).

A frame is one JSON object on one line. Decoding is strict: a line either becomes a frame of the declared types or
raises `BadFrame`, and nothing else. Unknown fields are ignored. `null` counts as a missing optional field, because many
JSON libraries write it that way. Names aren't validated here.
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
IdOrNone = Annotated[int, Meta(ge=0, le=MAX_ID)]  # 0 means that there is none yet


class _Frame(Struct, tag_field="type", omit_defaults=True, frozen=True, gc=False):
    """The base of all frames. They have no containers that could form a reference cycle, hence `gc=False`."""


def _version() -> Literal[1]:
    return VERSION


# --- client to node


class ClientHello(_Frame, tag="hello", frozen=True, kw_only=True):
    """Claim a name, or resume a session with `token`."""

    # This is a default factory, because `omit_defaults` would omit a plain default, and the version must be sent.
    v: Literal[1] = field(default_factory=_version)
    name: str
    acks: bool = False  # this client acknowledges messages itself
    token: str | None = None
    chat: str | None = None
    sent: IdOrNone | None = None  # the highest id that this client ever used
    last: IdOrNone = 0  # the highest partner id received in `chat`
    at: float | None = None  # the time of that message, as it was received
    left: str | None = None  # the last chat that this client was told is over
    ask: bool = False  # this client accepts or declines calls itself
    auth: str | None = None  # a signed token for the name, if the relay requires one


class ClientTo(_Frame, tag="to", frozen=True):
    """Start a chat. `ref`, here and in other requests, is echoed in every answer."""

    name: str
    ref: Ref | None = None


class ClientCancel(_Frame, tag="cancel", frozen=True):
    """Cancel a call that has no outcome yet. With `ref`, cancel only that one."""

    ref: Ref | None = None


class ClientAccept(_Frame, tag="accept", frozen=True):
    """Accept a call. Without `chat`, accept whichever there is."""

    chat: str | None = None
    ref: Ref | None = None


class ClientDecline(_Frame, tag="decline", frozen=True):
    """Decline a call."""

    chat: str | None = None
    ref: Ref | None = None


class ClientBlock(_Frame, tag="block", frozen=True):
    """Refuse a user's calls for the rest of the session."""

    name: str
    ref: Ref | None = None


class ClientUnblock(_Frame, tag="unblock", frozen=True):
    """Allow a user's calls again."""

    name: str
    ref: Ref | None = None


class ClientTyping(_Frame, tag="typing", frozen=True):
    """Tell the partner that the user is typing. Without `chat`, it is the current partner."""

    chat: str | None = None


class ClientMsg(_Frame, tag="msg", frozen=True):
    """Send a message to the partner. Without `chat`, it goes to the chat last announced on this connection."""

    id: Id
    text: Annotated[str, Meta(min_length=1)]
    chat: str | None = None


class ClientAck(_Frame, tag="ack", frozen=True):
    """Acknowledge all messages from the partner up to `id`."""

    id: Id
    chat: str | None = None


class ClientLeave(_Frame, tag="leave", frozen=True):
    """End the chat and keep the name. With `chat`, end only that one."""

    chat: str | None = None
    ref: Ref | None = None


class ClientWho(_Frame, tag="who", frozen=True):
    """Ask for a user's presence."""

    name: str
    ref: Ref | None = None


class ClientPing(_Frame, tag="ping", frozen=True):
    """Ask for a `pong`."""


class ClientQuit(_Frame, tag="quit", frozen=True):
    """Release the name and close, after the outcome of all earlier requests, or without waiting for it with `now`."""

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


# --- node to client. Codes, reasons and states are plain strings, so that older clients accept new ones.


class NodeWelcome(_Frame, tag="welcome", frozen=True):
    """The client owns the name now. `token` resumes the session on any node."""

    v: int
    name: str
    token: str
    resumed: bool
    grace: float  # seconds
    window: int  # messages
    window_bytes: int
    ping: float  # seconds
    node: str
    max_line: int | None = None  # bytes of the longest line that the node accepts, without its LF


class NodePaired(_Frame, tag="paired", frozen=True):
    """The client is in a chat with `name`."""

    name: str
    chat: str
    acks: str  # the side that acknowledges for the partner: "client" or "node"
    resumed: bool
    last: IdOrNone | None = None  # after a resume, the highest of the client's ids that the partner has
    at: float | None = None  # the time of that message, if it is known
    ref: Ref | None = None


class NodeMsg(_Frame, tag="msg", frozen=True):
    """The partner sent a message. `id` is the sender's, and `at` is the Unix time when its node accepted it."""

    id: Id
    sender: str = field(name="from")
    chat: str
    text: str
    at: float


class NodeAck(_Frame, tag="ack", frozen=True):
    """The partner has all the client's messages of this chat up to `id`, except those reported unconfirmed."""

    id: Id
    chat: str
    at: float | None = None  # the time of the message `id`, as it was sent to the partner


class NodeUnconfirmed(_Frame, tag="unconfirmed", frozen=True):
    """No acknowledgement will come for these ids (both ends inclusive)."""

    first: Id = field(name="from")
    last: Id = field(name="to")
    reason: str
    chat: str | None = None  # None if the chat isn't known any more


class NodeAway(_Frame, tag="away", frozen=True):
    """The partner's connection or node was lost. The partner may come back within `grace` seconds."""

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
    ref: Ref | None = None  # the `ref` of the request that ended it


class NodePresence(_Frame, tag="presence", frozen=True):
    """The answer to `who`."""

    name: str
    state: str
    ref: Ref | None = None


class NodeInvited(_Frame, tag="invited", frozen=True):
    """This user is calling: the client may accept or decline within `wait` seconds."""

    name: str
    chat: str
    wait: float


class NodeMissed(_Frame, tag="missed", frozen=True):
    """The call is over without an answer."""

    name: str
    chat: str
    ref: Ref | None = None  # the `ref` of an `accept` that came too late


class NodeRinging(_Frame, tag="ringing", frozen=True):
    """The called user has been asked, and may answer within `wait` seconds."""

    name: str
    wait: float
    chat: str | None = None  # the chat that begins if the call is accepted
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
    """The partner is typing. No frame follows when that ends."""

    name: str
    chat: str


class NodeMoving(_Frame, tag="moving", frozen=True):
    """This node is draining: the client should reconnect and resume elsewhere."""


class NodeReplaced(_Frame, tag="replaced", frozen=True):
    """Another connection has resumed this session, so this one closes."""


class NodeError(_Frame, tag="error", frozen=True):
    """A frame was refused. `id`, `name` and `ref` are those of the refused frame, if it had them."""

    code: str
    message: str
    id: int | None = None
    name: str | None = None
    expected: int | None = None  # with bad_order, the id that was expected
    supported: tuple[int, ...] | None = None  # with bad_version, the supported versions
    ref: Ref | None = None


class NodePong(_Frame, tag="pong", frozen=True):
    """The answer to `ping`."""


class NodeBye(_Frame, tag="bye", frozen=True):
    """All earlier requests have their outcome, and the connection closes."""


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

# `encode_all` returns the lines of several frames, and raises as `encode` does. It is msgspec's own method and no
# function of ours, because every message passes it.
encode_all: Final[Callable[[Sequence["ClientFrame | NodeFrame"]], bytes]] = Encoder().encode_lines
_CLIENT: Final[Decoder[ClientFrame]] = Decoder(ClientFrame)
# Does the same as `decode_client` for a line that is ASCII, as nearly all are, but raises `REFUSALS`.
decode_ascii: Final[Callable[[bytes], ClientFrame]] = _CLIENT.decode
_NODE: Final[Decoder[NodeFrame]] = Decoder(NodeFrame)


def encode(frame: ClientFrame | NodeFrame) -> bytes:
    """Return the line of a frame with its LF. Raises UnicodeEncodeError for text with a lone surrogate."""
    return encode_all((frame,))


def decode_client(line: bytes) -> ClientFrame:
    """Return the frame on a client's line, with or without its LF. Raises BadFrame, and nothing else."""
    try:
        if not line.isascii():
            line.decode()  # msgspec doesn't check the encoding of fields that it skips
        return _CLIENT.decode(line)
    except REFUSALS as error:
        raise bad_frame(line, error) from None


def decode_node(line: bytes) -> NodeFrame:
    """Return the frame on a node's line, with or without its LF. Raises BadFrame, and nothing else."""
    try:
        if not line.isascii():
            line.decode()  # see `decode_client`
        return _NODE.decode(line)
    except REFUSALS as error:
        raise bad_frame(line, error) from None
