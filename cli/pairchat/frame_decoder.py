"""This module splits a node's bytes into lines and decodes its frames. It does no I/O."""

import json
from typing import Final, get_args

from pairchat.errors import NotARelay
from relay.protocol import json_frames

MAX_LINE = 65_536  # bytes of a line to the node without its LF: the default of `relay node --max-line`
# Bytes of a line from the node. It fits the longest text that a node can be configured to accept (`--max-line` is at
# most 16 MiB, and a window admits a single text of any length), with each byte escaped as `\u00NN`.
MAX_NODE_LINE = 6 * 16 * 1_048_576 + 512

_KNOWN: Final = frozenset(frame.__struct_config__.tag for frame in get_args(json_frames.NodeFrame))


class LineSplitter:
    """Splits the bytes that were read into lines."""

    def __init__(self) -> None:
        self._input = bytearray()
        self._searched = 0  # number of input bytes that are known to have no LF

    def clear(self) -> None:
        """Drop the input, because the next bytes come from another connection."""
        self._input.clear()
        self._searched = 0

    def add(self, data: bytes) -> None:
        """Append bytes that were read."""
        self._input += data

    def next(self) -> bytes | None:
        """Return the next complete line without its LF, or None. Raises `NotARelay` for a line that is too long."""
        end = self._input.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._input)
            if self._searched > MAX_NODE_LINE:
                raise NotARelay("this does not answer like a relay: a line without an end")
            return None
        line = bytes(self._input[:end])
        del self._input[: end + 1]
        self._searched = 0
        return line


def decode(line: bytes) -> json_frames.NodeFrame | None:
    """Decode the frame on a line. Returns None for a frame type of a newer relay. Raises `NotARelay`."""
    try:
        return json_frames.decode_node(line)
    except json_frames.BadFrame:
        if _unknown(line):
            return None
        raise NotARelay("this does not answer like a relay") from None


def _unknown(line: bytes) -> bool:
    """Return True if the line is a frame of a type that this version doesn't know."""
    try:
        frame = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(frame, dict) and isinstance(frame.get("type"), str) and frame["type"] not in _KNOWN
