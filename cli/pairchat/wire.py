"""Lines and frames as they come from a node. No I/O."""

import json
from typing import Final, get_args

from pairchat.errors import NotARelay
from relay.protocol import frames

MAX_LINE = 65_536  # bytes of a line of ours without its LF: the default of `relay node --max-line`
# Bytes of a line of the node's: the longest text that a node can be made to take (`--max-line` is 16 MiB at most; a
# window lets one text through however long), each byte of it escaped as `\u00NN`.
MAX_NODE_LINE = 6 * 16 * 1_048_576 + 512

_KNOWN: Final = frozenset(frame.__struct_config__.tag for frame in get_args(frames.NodeFrame))


class Lines:
    """Cuts what was read into lines."""

    def __init__(self) -> None:
        self._input = bytearray()
        self._searched = 0  # bytes of the input known to hold no LF

    def clear(self) -> None:
        """The connection is another one."""
        self._input.clear()
        self._searched = 0

    def add(self, data: bytes) -> None:
        """Take what was read."""
        self._input += data

    def next(self) -> bytes | None:
        """The next whole line, without its LF. Raises `NotARelay` if one gets too long."""
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


def decode(line: bytes) -> frames.NodeFrame | None:
    """The frame on a line; None for one of a newer relay. Raises `NotARelay`."""
    try:
        return frames.decode_node(line)
    except frames.BadFrame:
        if _unknown(line):
            return None
        raise NotARelay("this does not answer like a relay") from None


def _unknown(line: bytes) -> bool:
    """Whether this is a frame of a type that this version doesn't know."""
    try:
        frame = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(frame, dict) and isinstance(frame.get("type"), str) and frame["type"] not in _KNOWN
