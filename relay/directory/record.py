"""What the directory says of a name."""

import msgspec

from relay.model import ChatRef, Ended, Party, Seconds


class SessionRecord(msgspec.Struct, array_like=True, frozen=True):
    """The part of a record that only nodes read."""

    display_name: str  # the name as its owner typed it
    grace: Seconds  # seconds that the session may be resumed after its connection or node was lost; 0: not at all
    token: str  # hash of the token that resumes it; empty: none
    away: bool  # its client is gone for now
    chat: str  # the chat it is in; empty: none
    partner: Party | None
    ended: Ended | None = None  # the last chat that is over
    previous_chat: ChatRef | None = None  # the chat that goes on if `chat` is being agreed on and comes to nothing
    calling: bool = False  # a call rings at it, or it waits for one that does: others hear `busy`

    @property
    def engaged(self) -> ChatRef | None:
        """The chat it is in, or that is being agreed on."""
        return None if self.partner is None else ChatRef(self.chat, self.partner)

    def knows(self, chat: str) -> bool:
        """Whether the session is in this chat, or may be."""
        return chat == self.chat or (self.previous_chat is not None and chat == self.previous_chat.id)


class Record(msgspec.Struct, frozen=True):
    """A name's owner and state. `version` is what a claim that replaces it has to have seen."""

    fencing_token: int
    node_id: str
    incarnation: str
    session_id: str
    body: SessionRecord

    @property
    def version(self) -> str:
        """The part that changes whenever the owner does."""
        return f"{self.fencing_token} {owner(self.node_id, self.incarnation, self.session_id)}"


def owner(node_id: str, incarnation: str, session_id: str) -> str:
    """How a record names its owner; also taken apart by the scripts."""
    return f"{node_id}/{incarnation}/{session_id}"


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
        fencing_token, owned_by, body = raw.split(b" ", 2)
        node_id, incarnation, session_id = owned_by.decode().split("/")
        return Record(int(fencing_token), node_id, incarnation, session_id, _decoder.decode(body))
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        raise BadRecord(f"unreadable record: {error}") from None
