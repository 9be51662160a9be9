"""The saved form of a session, with which another connection or another process can resume it."""

from typing import Final

import msgspec

VERSION: Final = 1


class Said(msgspec.Struct, frozen=True):
    """A text without an outcome."""

    id: int
    text: str
    chat: str
    by: str  # the side that acknowledges: "client" or "node"
    tried: bool  # True if it may have reached a node


class SessionState(msgspec.Struct, frozen=True):
    """A saved session. The token in it is a secret."""

    name: str
    token: str
    sent: int = 0  # the highest id in use
    chat: str | None = None  # the id of the present chat
    partner: str | None = None
    acks: str = "node"  # the side that acknowledges for the partner: "client" or "node"
    last: int = 0  # the highest id of the partner's texts in this chat that was acknowledged
    pending: tuple[Said, ...] = ()  # the texts without an outcome, oldest first
    blocked: tuple[str, ...] = ()  # the names whose calls are refused
    left: str | None = None  # the id of the last chat that is known to be over
    at: float | None = None  # the Unix time of the text `last`
    version: int = VERSION


class BadMemory(ValueError):
    """The bytes are no saved session of this version."""


def encode(memory: SessionState) -> bytes:
    """Return a saved session as JSON."""
    return msgspec.json.encode(memory)


def decode(data: bytes) -> SessionState:
    """Parse the output of `encode`. Raises `BadMemory`."""
    try:
        memory = msgspec.json.decode(data, type=SessionState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadMemory(str(error)) from None
    if memory.version != VERSION:
        raise BadMemory(f"version {memory.version}")
    return memory
