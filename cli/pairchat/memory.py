"""What has to be remembered to go on with a session: on another connection, or in another process."""

from typing import Final

import msgspec

VERSION: Final = 1


class Said(msgspec.Struct, frozen=True):
    """A text whose fate isn't known."""

    id: int
    text: str
    chat: str
    by: str  # who acknowledges: "client" or "node"
    tried: bool  # it may have reached the node


class Memory(msgspec.Struct, frozen=True):
    """A session. The token in it is a secret."""

    name: str
    token: str
    sent: int = 0  # the highest id in use
    chat: str | None = None
    partner: str | None = None
    acks: str = "node"
    last: int = 0  # the highest id of the partner's texts in this chat that was acknowledged
    pending: tuple[Said, ...] = ()
    blocked: tuple[str, ...] = ()
    left: str | None = None  # the last chat that is known to be over
    at: float | None = None  # the time of the text `last`
    version: int = VERSION


class BadMemory(ValueError):
    """Bytes that are no memory of this version."""


def encode(memory: Memory) -> bytes:
    """As JSON."""
    return msgspec.json.encode(memory)


def decode(data: bytes) -> Memory:
    """What `encode` made. Raises `BadMemory`."""
    try:
        memory = msgspec.json.decode(data, type=Memory)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadMemory(str(error)) from None
    if memory.version != VERSION:
        raise BadMemory(f"version {memory.version}")
    return memory
