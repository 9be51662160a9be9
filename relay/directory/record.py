"""What the directory says of a name."""

import msgspec

from relay.model import ChatRef, Ended, Party


class SessionRecord(msgspec.Struct, array_like=True, frozen=True):
    """The part of a record that only nodes read."""

    shown: str  # the name as its owner typed it
    grace: float  # seconds that the session may be resumed after its connection or node was lost; 0: not at all
    token: str  # hash of the token that resumes it; empty: none
    away: bool  # its client is gone for now
    chat: str  # the chat it is in; empty: none
    partner: Party | None
    ended: Ended | None = None  # the last chat that is over
    before: ChatRef | None = None  # the chat that goes on if `chat` is being agreed on and comes to nothing
    calling: bool = False  # a call rings at it, or it waits for one that does: others hear `busy`

    @property
    def engaged(self) -> ChatRef | None:
        """The chat it is in, or that is being agreed on."""
        return None if self.partner is None else ChatRef(self.chat, self.partner)

    def knows(self, chat: str) -> bool:
        """Whether the session is in this chat, or may be."""
        return chat == self.chat or (self.before is not None and chat == self.before.id)


class Record(msgspec.Struct, frozen=True):
    """A name's owner and state. `version` is what a claim that replaces it has to have seen."""

    fence: int
    uid: str
    incarnation: str
    sid: str
    body: SessionRecord

    @property
    def version(self) -> str:
        """The part that changes whenever the owner does."""
        return f"{self.fence} {owner(self.uid, self.incarnation, self.sid)}"


def owner(uid: str, incarnation: str, sid: str) -> str:
    """How a record names its owner; also taken apart by the scripts."""
    return f"{uid}/{incarnation}/{sid}"


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(SessionRecord)


def encode(body: SessionRecord) -> bytes:
    """The body as it stands in Redis. It carries names and ids, no text of a message and no token."""
    return _encoder.encode(body)


class BadRecord(ValueError):
    """A record that no node of this version wrote."""


def decode(raw: bytes) -> Record:
    """Read a record. Raises BadRecord."""
    try:
        fence, owned_by, body = raw.split(b" ", 2)
        uid, incarnation, sid = owned_by.decode().split("/")
        return Record(int(fence), uid, incarnation, sid, _decoder.decode(body))
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        raise BadRecord(f"unreadable record: {error}") from None
