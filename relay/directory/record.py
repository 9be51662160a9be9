"""The record of a name in the directory."""

import msgspec

from relay.shared_types import ChatRef, Ended, FormerSession, Party, Seconds


class SessionRecord(msgspec.Struct, array_like=True, frozen=True):
    """The part of a record that only nodes read."""

    display_name: str  # the name as its owner typed it
    grace: Seconds  # how long the session can be resumed after its connection or node was lost; 0: not at all
    token: str  # the hash of the token that resumes the session; empty: none
    away: bool  # whether its client is gone for now
    chat: str  # the id of its chat; empty: none
    partner: Party | None
    ended: Ended | None = None  # its last chat that is over
    previous_chat: ChatRef | None = None  # the chat that goes on if `chat` is being agreed on and that fails
    calling: bool = False  # whether it rings, or waits for a call that rings: other callers get `busy`
    returns: int = 0  # the number of times that a client came back to the session on its node
    former: FormerSession | None = None  # the session that moved to this node and became this one

    def returns_of(self, session_id: str) -> int:
        """Return how often a client had come back to that session when it became this one.

        The result is -1 if that isn't known to have happened: both may come from a third one, on two servers that were
        primaries at once, or a session between them may have been missed.
        """
        return self.former.returns if self.former is not None and self.former.session_id == session_id else -1

    @property
    def engaged(self) -> ChatRef | None:
        """The session's chat, or the one that is being agreed on; None without one."""
        return None if self.partner is None else ChatRef(self.chat, self.partner)

    def knows(self, chat: str) -> bool:
        """Return whether the session is in this chat, or may be."""
        return chat == self.chat or (self.previous_chat is not None and chat == self.previous_chat.id)


class Record(msgspec.Struct, frozen=True):
    """The owner and state of a name. A claim that replaces it must name the `version` that it has read."""

    fencing_token: int
    node_id: str
    incarnation: str
    session_id: str
    body: SessionRecord

    @property
    def version(self) -> str:
        """The part of the record that changes with its owner."""
        return f"{self.fencing_token} {owner(self.node_id, self.incarnation, self.session_id)}"


def owner(node_id: str, incarnation: str, session_id: str) -> str:
    """Return the owner as a record names it. The scripts parse it too."""
    return f"{node_id}/{incarnation}/{session_id}"


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(SessionRecord)


def encode(body: SessionRecord) -> bytes:
    """Return the body as it stands in Redis. It has names and ids, but no message text and no token."""
    return _encoder.encode(body)


class BadRecord(ValueError):
    """The bytes aren't a record that a node of this version wrote."""


def decode(raw: bytes) -> Record:
    """Parse a record. Raises BadRecord."""
    try:
        fencing_token, owned_by, body = raw.split(b" ", 2)
        node_id, incarnation, session_id = owned_by.decode().split("/")
        return Record(int(fencing_token), node_id, incarnation, session_id, _decoder.decode(body))
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        raise BadRecord(f"unreadable record: {error}") from None
