"""The status report of a node, as it is stored in Redis."""

import importlib.metadata
from typing import Final

import msgspec

VERSION: Final = importlib.metadata.version("pair-relay")


class Report(msgspec.Struct, frozen=True):
    """The state of a node at one moment. New fields need a default, because older nodes don't write them."""

    name: str
    version: str
    at: float  # Unix time in seconds
    up: float  # seconds since its start
    lease: float  # the length of the node's lease, in seconds
    trouble: str = ""  # why no new clients should come, or "" if they may
    connections: int = 0
    users: int = 0
    chatting: int = 0  # users in a chat; the partner may be on another node
    received: float = 0.0  # messages a second since the previous report
    delivered: float = 0.0  # messages a second since the previous report
    unconfirmed: int = 0  # messages since its start
    memory: int = 0  # bytes of messages and replies in flight


_decoder: Final = msgspec.json.Decoder(Report)


def encode(report: Report) -> bytes:
    """Return the report in its format in Redis."""
    return msgspec.json.encode(report)


def decode(raw: bytes) -> Report | None:
    """Return a node's report, or None if the data isn't one: any client of Redis can write there."""
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
