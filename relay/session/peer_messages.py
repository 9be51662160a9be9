"""The messages that sessions send to each other, on one node or across nodes.

The tags (`tag=`) and the order of the fields are frozen, because nodes of one major version understand each other. Some
classes have a clearer name than their tag. A new field is the last one and has a default.

Each peer message is addressed to a session by its canonical name (`to`), and belongs to a chat once there is one. Peer
messages between two nodes arrive once and in order as long as both nodes live (`reliable_link`). `Resync` repairs what
a session that moved, or a node that came back, may have missed.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from relay.protocol.errors import Code, Reason
from relay.shared_types import Moment, Party, Seconds

# Every frame on the bus has this version, and a node refuses another major version (`relay.bus.reliable_link`).
VERSION: Final = 1


class Invite(msgspec.Struct, array_like=True, tag="invite", frozen=True):
    """The caller calls. `chat` is the id that the chat will have, and the nonce of this agreement."""

    to: str
    chat: str
    caller: Party


class Accept(msgspec.Struct, array_like=True, tag="accept", frozen=True):
    """The callee is reserved for this call and waits for `CallConfirmed`."""

    to: str
    chat: str
    callee: Party


class Ringing(msgspec.Struct, array_like=True, tag="ringing", frozen=True):
    """The callee's client is being asked. This is sent only to a party that `rings`."""

    to: str
    chat: str


class Decline(msgspec.Struct, array_like=True, tag="decline", frozen=True):
    """The callee can't take the call: it is `busy`, `away` or `no_such_user`, or after `Ringing` also `declined`."""

    to: str
    chat: str
    code: Code


class CallConfirmed(msgspec.Struct, array_like=True, tag="settle", frozen=True):
    """The caller took the acceptance: the chat exists."""

    to: str
    chat: str


class Text(msgspec.Struct, array_like=True, tag="text"):
    """Messages with consecutive ids from `id` on. `prev` is the id before them in this chat, 0 for the first.

    The class isn't frozen, because messages of the same tick are added until the next flush.
    """

    to: str
    chat: str
    fencing_token: int
    id: int
    prev: int
    at: Moment
    texts: list[str]


class Typing(msgspec.Struct, array_like=True, tag="typing", frozen=True):
    """The other side is typing. This is sent only to a party that `rings`, and only if it can leave at once."""

    to: str
    chat: str


class Ack(msgspec.Struct, array_like=True, tag="ack", frozen=True):
    """The other side has all messages of this chat up to `id`. `at` is when that one was said, if it knows."""

    to: str
    chat: str
    id: int
    at: Moment | None = None


class FlowAck(msgspec.Struct, array_like=True, tag="taken", frozen=True):
    """The other side's kernel has all messages up to `id`; its client acknowledges them in its own time."""

    to: str
    chat: str
    id: int


class HalfClosed(msgspec.Struct, array_like=True, tag="deaf", frozen=True):
    """The other side can't be told anything any more. Its remaining messages follow, and then `ChatEnded`."""

    to: str
    chat: str
    last: int


class ChatEnded(msgspec.Struct, array_like=True, tag="gone", frozen=True):
    """The chat is over for the other side, or the other side doesn't know it. It had the messages up to `last`."""

    to: str
    chat: str
    reason: Reason
    last: int
    fencing_token: int = 0  # 0: the sending node has no such session


class Away(msgspec.Struct, array_like=True, tag="away", frozen=True):
    """The other side's connection is lost. Its client may resume within `grace` seconds."""

    to: str
    chat: str
    grace: Seconds
    fencing_token: int = 0


class Resync(msgspec.Struct, array_like=True, tag="sync", frozen=True):
    """The other side lives on the node of `party` and has the messages up to `last`. The later ones must be sent again.

    `times` says when the latest messages that it received were said, up to the id `timed`. With `reply` it has the time
    of `last` alone.
    """

    to: str
    chat: str
    party: Party
    last: int
    reply: bool  # the receiver must answer with a Resync of its own
    away: bool = False  # the other side's client is away
    timed: int = 0
    times: list[Moment] = []


class SessionMoved(msgspec.Struct, array_like=True, tag="moved", frozen=True):
    """Tells the node that held a session that the client has resumed it elsewhere.

    With `superseded` the session wasn't resumed: its user has claimed the name anew, and the session is over.
    """

    to: str
    session_id: str
    superseded: bool = False
    fencing_token: int = 0  # that of the move; only nodes of earlier releases read it
    node_id: str = ""  # the node that has the session now; empty: that node doesn't understand `Knew`
    returns: int = 0  # how often a client had come back to the session, by the replaced record; 0: maybe unknown


class Knew(msgspec.Struct, array_like=True, tag="knew", frozen=True):
    """The answer to `SessionMoved`: the times of the chat's latest messages that the former node knows.

    `times` are those of the partner's messages up to the id `timed`, and `said_times` those of its own up to `said`.
    """

    to: str
    chat: str
    timed: int
    times: list[Moment]
    said: int
    said_times: list[Moment]


class UnknownSession(msgspec.Struct, array_like=True, tag="unknown", frozen=True):
    """The answer to a `Resync`: no session of that name is on node `node_id`. The directory knows where it is.

    If the session was there before, `times` says when its messages without acknowledgement were said, up to the id
    `timed`. Its client will send them again elsewhere.
    """

    to: str
    chat: str
    node_id: str
    timed: int = 0
    times: list[Moment] = []


Mail = (
    Invite
    | Accept
    | Decline
    | CallConfirmed
    | Text
    | Ack
    | HalfClosed
    | ChatEnded
    | Away
    | Resync
    | SessionMoved
    | Knew
    | FlowAck
    | UnknownSession
    | Ringing
    | Typing
)

# Encodes the peer messages for one node. It is msgspec's own method, because each frame needs it.
encode: Final[Callable[[list[Mail]], bytes]] = msgspec.msgpack.Encoder().encode
# Decodes what `encode` made. Raises one of `UNREADABLE`, because the bytes may come from anyone who can reach Redis.
decode: Final[Callable[[bytes | memoryview], list[Mail]]] = msgspec.msgpack.Decoder(list[Mail]).decode
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
