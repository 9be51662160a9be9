"""What sessions say to each other, on one node or across nodes.

Every piece of mail is addressed to a session by the name it owns (`to`) and, once there is one, belongs to a chat. Mail
between two nodes arrives once and in order as long as both live (`relay.bus.link`); what a session that moved or a node
that came back may have missed is settled by `Resync`.
"""

from typing import Final

import msgspec

from relay.model import Moment, Party, Seconds
from relay.protocol.errors import Code, Reason

# Sent in every frame on the bus; another major version is refused (see relay.bus.link).
VERSION: Final = 1


class Invite(msgspec.Struct, array_like=True, tag="invite", frozen=True):
    """Call: `chat` is the id that the chat will have, and the nonce of this agreement."""

    to: str
    chat: str
    caller: Party


class Accept(msgspec.Struct, array_like=True, tag="accept", frozen=True):
    """The callee is reserved for this call and waits for `CallConfirmed`."""

    to: str
    chat: str
    callee: Party


class Ringing(msgspec.Struct, array_like=True, tag="ringing", frozen=True):
    """The callee's client is being asked. Only to a party that `rings`."""

    to: str
    chat: str


class Decline(msgspec.Struct, array_like=True, tag="decline", frozen=True):
    """The callee can't be had: `busy`, `away`, `no_such_user`; after `Ringing` also `declined`."""

    to: str
    chat: str
    code: Code


class CallConfirmed(msgspec.Struct, array_like=True, tag="settle", frozen=True):
    """The caller took the acceptance: the chat exists."""

    to: str
    chat: str


class Text(msgspec.Struct, array_like=True, tag="text"):
    """Messages with consecutive ids from `id` on. `prev` is the id before them in this chat, 0 for the first.

    Not frozen: messages of the same turn are added until the mail leaves.
    """

    to: str
    chat: str
    fencing_token: int
    id: int
    prev: int
    at: Moment
    texts: list[str]


class Typing(msgspec.Struct, array_like=True, tag="typing", frozen=True):
    """The other side is typing. Only to a party that `rings`, and only if it can leave at once."""

    to: str
    chat: str


class Ack(msgspec.Struct, array_like=True, tag="ack", frozen=True):
    """The other side has all messages of this chat up to `id`, which was said at `at` as far as it knows."""

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
    """The other side can't be told anything any more; what it still has to say follows, then `ChatEnded`."""

    to: str
    chat: str
    last: int


class ChatEnded(msgspec.Struct, array_like=True, tag="gone", frozen=True):
    """The chat is over for the other side, or it knows of none. It had the messages up to `last`."""

    to: str
    chat: str
    reason: Reason
    last: int
    fencing_token: int = 0  # 0: from a node that knows of no such session


class Away(msgspec.Struct, array_like=True, tag="away", frozen=True):
    """The other side's connection is lost; its client may resume within `grace` seconds."""

    to: str
    chat: str
    grace: Seconds
    fencing_token: int = 0


class Resync(msgspec.Struct, array_like=True, tag="sync", frozen=True):
    """The other side lives here now, and has the messages up to `last`: send again what came after.

    `times`: when the latest messages that came to it were said, those up to the id `timed`. A question has the time of
    `last` alone.
    """

    to: str
    chat: str
    party: Party
    last: int
    reply: bool  # answer with a Sync of your own
    away: bool = False  # its client isn't there at the moment
    timed: int = 0
    times: list[Moment] = []


class SessionMoved(msgspec.Struct, array_like=True, tag="moved", frozen=True):
    """To the node that held a session: its client has resumed it elsewhere, under this fence.

    `taken`: not that; its user has claimed the name anew, and the session is over.
    """

    to: str
    session_id: str
    taken: bool = False
    fencing_token: int = 0  # 0: from a node that doesn't say it
    node_id: str = ""  # of the node that has it now; empty: it understands no `Knew`


class Knew(msgspec.Struct, array_like=True, tag="knew", frozen=True):
    """The answer to `SessionMoved`: when the latest messages of the chat were said, as far as this node knows.

    `times`: of the partner's messages, those up to the id `timed`. `said_times`: of its own, up to `said`.
    """

    to: str
    chat: str
    timed: int
    times: list[Moment]
    said: int
    said_times: list[Moment]


class UnknownSession(msgspec.Struct, array_like=True, tag="unknown", frozen=True):
    """The answer to a `Resync`: nobody of that name is on node `node_id`. The directory knows where it is.

    `times`: of a session that was there, when those messages of it were said that have no acknowledgement, up to the id
    `timed`; its client will say them again elsewhere.
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

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Mail])


class BadMail(ValueError):
    """Bytes from the bus that are no mail of this version."""


def encode(mail: list[Mail]) -> bytes:
    """Pack mail for one node."""
    return _encoder.encode(mail)


def decode(body: bytes | memoryview) -> list[Mail]:
    """Unpack what `encode` made. Raises BadMail; the bytes may come from anyone who reaches Redis."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadMail(str(error)) from None
