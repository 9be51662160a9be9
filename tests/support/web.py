"""WebSocket frames as a client writes them, and what a node answers, for tests without a client library."""

import struct
from typing import Final, NamedTuple

TEXT: Final = 0x1
BINARY: Final = 0x2
CONTINUATION: Final = 0x0
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

MASK: Final = b"\x11\x22\x33\x44"


def frame(
    payload: bytes = b"", opcode: int = TEXT, *, fin: bool = True, reserved: int = 0, mask: bytes | None = MASK
) -> bytes:
    """A client's frame. `mask` None: it isn't masked, as no client may."""
    masked = 0x80 if mask is not None else 0
    first, size = (0x80 if fin else 0) | reserved << 4 | opcode, len(payload)
    if size < 126:
        head = struct.pack("!BB", first, masked | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, masked | 126, size)
    else:
        head = struct.pack("!BBQ", first, masked | 127, size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    """A client's close frame."""
    return frame(b"" if code is None else struct.pack("!H", code) + reason, CLOSE)


class Heard(NamedTuple):
    """A frame of a node."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int | None:
        """The code of a close frame."""
        return struct.unpack("!H", self.payload[:2])[0] if self.opcode == CLOSE and self.payload else None


def heard(data: bytes) -> list[Heard]:
    """The frames of a node. Each of them is a whole message, not masked, with the shortest length there is."""
    frames = []
    while data:
        first, size = data[0], data[1]
        assert first & 0xF0 == 0x80, f"neither whole nor plain: {data[:20]!r}"
        assert size < 128, f"masked: {data[:20]!r}"
        start = 2
        if size == 126:
            (size,), start = struct.unpack("!H", data[2:4]), 4
            assert size > 125
        elif size == 127:
            (size,), start = struct.unpack("!Q", data[2:10]), 10
            assert size > 65535
        assert len(data) >= start + size, f"cut: {data[:20]!r}"
        frames.append(Heard(first & 0x0F, data[start : start + size]))
        data = data[start + size :]
    return frames


def handshake(path: str = "/ws", **headers: str | None) -> bytes:
    """A request for WebSocket. `headers` go over the usual ones; None leaves one out. `_` stands for `-`."""
    fields: dict[str, str | None] = {
        "host": "localhost",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
    }
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
    return "\r\n".join([*lines, "", ""]).encode()
