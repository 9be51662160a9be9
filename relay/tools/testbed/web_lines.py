"""The lines of a JSON client over WebSocket: the client's side of it, for programs that speak in lines. No I/O."""

import struct
from typing import Final

from websockets.client import ClientProtocol
from websockets.frames import Close, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

# A mask has to be drawn anew for each frame, against proxies that could be fooled. There are none here, and this one
# costs a load generator nothing. The node takes it off as any other.
MASK: Final = bytes(4)
_WHOLE_TEXT: Final = 0x81
_MASKED: Final = 0x80
_LONGER, _LONGEST = 126, 127


class NoWebSocket(Exception):
    """The node has refused the handshake, or said something else than WebSocket."""


class WebLines:
    """Makes frames of lines and lines of frames, from the handshake on.

    `owed` has bytes for the node that nobody has asked for: the handshake, pongs, and a close frame.
    """

    def __init__(self, host: str, port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        self._library = ClientProtocol(parse_uri(f"ws://{shown}:{port}/ws"), max_size=None)
        self._library.send_request(self._library.connect())
        self._rest = b""
        self.open = False  # the handshake is done
        self.owed = b"".join(self._library.data_to_send())

    def take_owed(self) -> bytes:
        """Return `owed`, and owe it no more."""
        owed, self.owed = self.owed, b""
        return owed

    def frames(self, lines: bytes) -> bytes:
        """Return a frame for each of these lines, which end in LF."""
        return b"".join(map(_frame, lines.split(b"\n")[:-1]))

    def feed(self, data: bytes) -> bytes:
        """Return the lines that these bytes complete, each with an LF. Raises NoWebSocket."""
        if not self.open:
            data = self._shake(data)
        return self._read(self._rest + data)

    def _shake(self, data: bytes) -> bytes:
        """Read the answer to the handshake. Returns what is behind it."""
        self._rest += data
        head, blank, rest = self._rest.partition(b"\r\n\r\n")
        if not blank:
            return b""
        self._rest = b""
        self._library.receive_data(head + blank)
        answers = [event for event in self._library.events_received() if isinstance(event, Response)]
        if self._library.state is not State.OPEN or not answers:
            raise NoWebSocket(str(self._library.handshake_exc or "no handshake"))
        self.open = True
        return rest

    def _read(self, data: bytes) -> bytes:
        """Take whole frames. Nearly all are short texts; a node never sends fragments."""
        if not self.open:
            return b""
        lines, at = [], 0
        while len(data) - at >= 2:
            first, length, start = data[at], data[at + 1], at + 2
            if length >= _LONGER:
                more = 2 if length == _LONGER else 8
                length, start = int.from_bytes(data[start : start + more], "big"), start + more
            if len(data) < start + length:
                break
            payload, at = data[start : start + length], start + length
            if first == _WHOLE_TEXT:
                lines.append(payload)
            else:
                self._controlled(first, payload)
        self._rest = data[at:] if at else data
        return b"\n".join([*lines, b""])

    def _controlled(self, first: int, payload: bytes) -> None:
        opcode = first & 0x0F
        if opcode == Opcode.PING:
            self.owed += _masked(0x80 | Opcode.PONG, payload)
        elif opcode == Opcode.CLOSE:
            close = Close.parse(payload)
            self.owed += _masked(0x80 | Opcode.CLOSE, payload if close.code != 1005 else b"")
        elif opcode != Opcode.PONG:
            raise NoWebSocket(f"a frame that no node sends: {first:#x}")


def _frame(line: bytes) -> bytes:
    return _masked(_WHOLE_TEXT, line)


def _masked(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < _LONGER:
        return b"%c%c%b%b" % (first, _MASKED | size, MASK, payload)
    if size < 1 << 16:
        head = struct.pack("!BBH", first, _MASKED | _LONGER, size)
    else:
        head = struct.pack("!BBQ", first, _MASKED | _LONGEST, size)
    return head + MASK + payload
