"""What a node says of itself."""

import importlib.metadata
from typing import Final

import msgspec

VERSION: Final = importlib.metadata.version("pair-relay")


class Report(msgspec.Struct, frozen=True):
    """A node at one moment. Fields may be added, each with a default: older nodes don't say them."""

    name: str
    version: str
    at: float  # Unix time in seconds
    up: float  # seconds since its start
    lease: float  # seconds for which it is held
    trouble: str = ""  # why no new clients should come; empty: they may
    connections: int = 0
    users: int = 0
    chatting: int = 0  # two to a pair, of whom one may be on another node
    received: float = 0.0  # messages a second, since the report before
    delivered: float = 0.0  # likewise
    unconfirmed: int = 0  # messages, since its start
    memory: int = 0  # bytes of messages under way


_decoder: Final = msgspec.json.Decoder(Report)


def encode(report: Report) -> bytes:
    """As it stands in Redis."""
    return msgspec.json.encode(report)


def decode(raw: bytes) -> Report | None:
    """What a node wrote; None for what is no report: whoever reaches Redis can write anything."""
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
