"""WebSocket frames (RFC 6455): a framer that takes messages out of a client's bytes, and the frames for the client.

A message is checked while it comes: its header before its payload, and its encoding byte by byte. So a client hears at
once what is wrong, and the node never holds more than one message of `limit` bytes.
"""

import codecs
import struct
from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct
from websockets.exceptions import ProtocolError
from websockets.frames import Close, CloseCode

try:
    from websockets.speedups import apply_mask
except ImportError:  # where the wheel has no extension module
    from websockets.utils import apply_mask

# The most that a control frame may hold (RFC 6455, 5.5).
CONTROL_BYTES: Final = 125

# The close code for a message that is longer than the limit.
TOO_BIG: Final = int(CloseCode.MESSAGE_TOO_BIG)

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_WHOLE_TEXT: Final = _FIN | _TEXT
_LONGER, _LONGEST = 126, 127  # lengths that announce two and eight more bytes

_decoder: Final = codecs.getincrementaldecoder("utf-8")
_longer: Final = struct.Struct("!BBH").pack
_longest: Final = struct.Struct("!BBQ").pack


def _text_header(size: int) -> bytes:
    if size < _LONGER:
        return bytes((_WHOLE_TEXT, size))
    return _longer(_WHOLE_TEXT, _LONGER, size) if size < 1 << 16 else _longest(_WHOLE_TEXT, _LONGEST, size)


# Nearly all messages are shorter than this.
_USUAL: Final = 1024
_HEADERS: Final = tuple(map(_text_header, range(_USUAL)))


def text_frame(payload: bytes) -> bytes:
    """Return the frame of a whole text message."""
    size = len(payload)
    return (_HEADERS[size] if size < _USUAL else _text_header(size)) + payload


def text_frames(payloads: Sequence[bytes]) -> bytes:
    """Return the frames of several messages. It takes half of the time that one by one would take."""
    pieces = []
    for payload in payloads:
        size = len(payload)
        pieces.append(_HEADERS[size] if size < _USUAL else _text_header(size))
        pieces.append(payload)
    return b"".join(pieces)


def control_frame(opcode: int, payload: bytes = b"") -> bytes:
    """Return a control frame, of `CONTROL_BYTES` at most."""
    return bytes((_FIN | opcode, len(payload))) + payload


def close_frame(end: "End") -> bytes:
    """Return the frame that begins or ends the closing handshake."""
    if end.code == CloseCode.NO_STATUS_RCVD:
        return control_frame(_CLOSE)
    reason = end.reason.encode()[: CONTROL_BYTES - 2].decode(errors="ignore")  # cut between two characters
    return control_frame(_CLOSE, Close(end.code, reason).serialize())


PING_FRAME: Final = control_frame(_PING)


def _header_bytes(head: bytes) -> int:
    """Return the number of header bytes that the bytes so far call for."""
    if len(head) < 2:
        return 2
    length = head[1] & 0x7F
    return 6 + (2 if length == _LONGER else 8 if length == _LONGEST else 0)


class End(Struct, frozen=True):
    """Why a connection is being closed: a close code, and a reason for people."""

    code: int
    reason: str = ""
    by_client: bool = False  # it is what the client's own close frame said


class Sink(Protocol):
    """Takes the frames that answer a client's control frames."""

    def add(self, frame: bytes) -> None:
        """Write this frame behind all earlier ones."""


class MessageFramer:
    """Takes whole messages out of a client's frames, as a `Framer` takes lines. A message has at most `limit` bytes.

    The limit may rise while a message comes, up to `most`. So a message that announces more than that ends the
    connection at once, and one that announces less ends it only when it has more than the limit of its moment.

    A ping is answered at once, so its pong goes out before the answers to messages that come later. The connection
    charges the frames that complete no message (`other_frames`: control frames, and the fragments behind the first),
    and looks at the end (`ended`). Nothing is read behind the end.
    """

    __slots__ = (
        "_control",
        "_decoder",
        "_head",
        "_left",
        "_mask",
        "_message",
        "_opcode",
        "ended",
        "limit",
        "most",
        "other_frames",
        "sink",
    )

    def __init__(self, limit: int, most: int) -> None:
        self.limit, self.most = limit, most
        self.sink: Sink | None = None  # takes the pongs
        self.other_frames = 0  # since the connection looked
        self.ended: End | None = None  # the client closes, or has broken the protocol
        self._head: bytes = b""  # the beginning of a header
        self._message: bytearray | None = None  # the payload so far; None: between two messages
        self._decoder: codecs.IncrementalDecoder | None = None
        self._control = b""  # the payload so far of a control frame
        # The frame whose payload is being read: -1 is none.
        self._opcode = -1
        self._left = 0  # bytes
        self._mask = b""  # as it applies to the next byte

    @property
    def half(self) -> int:
        """See `Framer`."""
        return len(self._head) + len(self._control) + (len(self._message) if self._message is not None else 0)

    def bound(self, limit: int) -> Sequence[bytes]:
        """See `Framer`. A message that is longer already ends the connection."""
        self.limit = limit
        if self._message is not None and len(self._message) > limit:
            self._too_big(limit)
        return ()

    def eof(self) -> None:
        """See `Framer`. Frames are still read, because the client's close frame may be among them."""

    def drop(self) -> None:
        """Drop what has come of a frame and a message. Nothing more may be fed."""
        self._head = self._control = self._mask = b""
        self._message = self._decoder = None
        self._opcode, self._left = -1, 0

    def feed(self, data: bytes) -> Sequence[bytes]:
        """Return the messages that `data` completes, in order."""
        messages: list[bytes] = []
        at, size = 0, len(data)
        while True:
            if self._message is None and self._opcode < 0 and not self._head and self.ended is None:
                # Nearly all messages are one short frame, and nearly all frames come whole.
                while size - at >= 6 and data[at] == _WHOLE_TEXT:
                    length, start = data[at + 1] ^ _MASKED, at + 6
                    if length == _LONGER and size - at >= 8:
                        length, start = data[at + 2] << 8 | data[at + 3], at + 8
                    elif length >= _LONGER:
                        break
                    end = start + length
                    if end > size or length > self.limit:
                        break
                    message = apply_mask(data[start:end], data[start - 4 : start])
                    if not message.isascii():
                        try:
                            message.decode()
                        except UnicodeDecodeError:
                            break
                    messages.append(message)
                    at = end
            if at == size or self.ended is not None:
                return messages
            at = size - self._feed_slowly(memoryview(data)[at:], messages)

    def _feed_slowly(self, view: memoryview, messages: list[bytes]) -> int:
        """Take frames of any kind, in any pieces, until the next frame may be a whole message.

        Returns the number of bytes that are left.
        """
        while self.ended is None and (view or (self._opcode >= 0 and not self._left)):
            if self._opcode < 0:
                view = self._take_header(view)
                continue
            piece, view = view[: self._left], view[self._left :]
            self._left -= len(piece)
            payload = apply_mask(piece, self._mask)
            if turn := len(piece) % 4:
                self._mask = self._mask[turn:] + self._mask[:turn]
            if self._opcode >= _CLOSE:
                self._control += payload
                if not self._left:
                    self._controlled()
            else:
                self._take_payload(payload, messages)
            if self._opcode < 0 and self._message is None:
                break
        return len(view)

    def _take_header(self, view: memoryview) -> memoryview:
        """Take one more byte of a header, or the rest of it. Returns what is behind."""
        have = self._head
        wanted = _header_bytes(have) - len(have)
        self._head = head = have + bytes(view[:wanted])
        if len(head) == 2 and not self._acceptable(head[0], head[1]):
            return view[wanted:]
        if len(head) > 1 and len(head) == _header_bytes(head):
            self._begin(head)
        return view[wanted:]

    def _acceptable(self, first: int, second: int) -> bool:
        """Return whether a frame may begin so; otherwise end the connection."""
        opcode, length = first & 0x0F, second & 0x7F
        if first & _RESERVED:
            return self._fail(CloseCode.PROTOCOL_ERROR, "reserved bits must be 0")
        if opcode not in (_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG):
            return self._fail(CloseCode.PROTOCOL_ERROR, "invalid opcode")
        if not second & _MASKED:
            return self._fail(CloseCode.PROTOCOL_ERROR, "frames from a client must be masked")
        if opcode >= _CLOSE:
            if length > CONTROL_BYTES:
                return self._fail(CloseCode.PROTOCOL_ERROR, "control frame too long")
            if not first & _FIN:
                return self._fail(CloseCode.PROTOCOL_ERROR, "fragmented control frame")
        elif (opcode == _CONTINUATION) is (self._message is None):
            expected = "unexpected" if self._message is None else "expected a"
            return self._fail(CloseCode.PROTOCOL_ERROR, f"{expected} continuation frame")
        elif opcode == _BINARY:
            return self._fail(CloseCode.UNSUPPORTED_DATA, "messages are text")
        return True

    def _begin(self, head: bytes) -> None:
        """Begin with the payload of a frame whose header is complete."""
        self._head = b""
        length = head[1] & 0x7F
        if length >= _LONGER:
            length = int.from_bytes(head[2:-4], "big")
        opcode = head[0] & 0x0F
        if opcode < _CLOSE:
            if self._message is None:
                self._message, self._decoder = bytearray(), _decoder()
            else:
                self.other_frames += 1
            if len(self._message) + length > self.most:
                self._too_big(self.most)
                return
            # The end of a message is remembered beside its opcode.
            opcode = _CONTINUATION if not head[0] & _FIN else _TEXT
        self._opcode, self._left, self._mask = opcode, length, head[-4:]

    def _take_payload(self, payload: bytes, messages: list[bytes]) -> None:
        """Take more of a message, which is complete with the last frame."""
        assert self._message is not None
        assert self._decoder is not None
        last = self._opcode == _TEXT and not self._left
        try:
            self._decoder.decode(payload, last)
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, "not valid UTF-8")
            return
        self._message += payload
        if len(self._message) > self.limit:
            self._too_big(self.limit)
            return
        if not self._left:
            self._opcode = -1
        if last:
            messages.append(bytes(self._message))
            self._message = self._decoder = None

    def _controlled(self) -> None:
        """Answer a control frame that is complete."""
        opcode, payload = self._opcode, self._control
        self._opcode, self._control = -1, b""
        self.other_frames += 1
        if opcode == _PING:
            if self.sink is not None:
                self.sink.add(control_frame(_PONG, payload))
        elif opcode == _CLOSE:
            try:
                close = Close.parse(payload)
            except ProtocolError as error:
                self._fail(CloseCode.PROTOCOL_ERROR, str(error))
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_DATA, "not valid UTF-8")
            else:
                self._end(End(close.code, by_client=True))

    def _too_big(self, limit: int) -> None:
        self._fail(CloseCode.MESSAGE_TOO_BIG, f"a message has at most {limit} bytes")

    def _fail(self, code: int, reason: str) -> bool:
        """End the connection, because the client has broken the protocol. Always returns False."""
        self._end(End(code, reason))
        return False

    def _end(self, end: End) -> None:
        self.drop()
        self.ended = end
