"""The values that commands answer, and their bytes in RESP2 and RESP3.

A command returns plain Python values: `bytes` is a bulk string, `int` an integer, `None` null, `list` an array and
`dict` a map. The classes here are the kinds of replies that Python has no type of its own for.
"""

from typing import Final


class Status(bytes):
    """A simple string, such as `+OK`."""

    __slots__ = ()


class Text(bytes):
    """A text for people, such as that of INFO. RESP3 says so; in RESP2 it is a bulk string."""

    __slots__ = ()


class Encoded(bytes):
    """A reply that is already encoded in the protocol of the connection."""

    __slots__ = ()


class CommandError(Exception):
    """A command is refused. `message` is the error reply: a code in capitals, and words."""

    def __init__(self, message: str | bytes) -> None:
        super().__init__(message)
        self.message = message if isinstance(message, bytes) else message.encode()


class WrongType(CommandError):
    """A key holds another type of value than the command is for."""

    def __init__(self) -> None:
        super().__init__(b"WRONGTYPE Operation against a key holding the wrong kind of value")


OK: Final = Status(b"OK")
NOTHING: Final = Encoded(b"")  # the command has written its own replies, as SUBSCRIBE does


def encode(reply: object, resp3: bool) -> bytes:
    """Return the bytes of a reply."""
    if type(reply) is bytes:
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if type(reply) is int:
        return b":%d\r\n" % reply
    if reply is None:
        return b"_\r\n" if resp3 else b"$-1\r\n"
    return _rarer(reply, resp3)


def _rarer(reply: object, resp3: bool) -> bytes:
    match reply:
        case Encoded():
            return bytes(reply)
        case Status():
            return b"+%b\r\n" % reply
        case Text() if resp3:
            return b"=%d\r\ntxt:%b\r\n" % (len(reply) + 4, reply)
        case Text():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case list():
            return b"*%d\r\n" % len(reply) + b"".join([encode(one, resp3) for one in reply])
        case dict():
            head = b"%%%d\r\n" % len(reply) if resp3 else b"*%d\r\n" % (2 * len(reply))
            return head + b"".join([encode(one, resp3) for pair in reply.items() for one in pair])
    raise TypeError(f"no reply: {reply!r}")


def encode_error(message: bytes) -> bytes:
    """Return the bytes of an error reply. Line ends in it become spaces, as they would end the reply."""
    return b"-%b\r\n" % message.replace(b"\r", b" ").replace(b"\n", b" ")


def encode_push(parts: list[object], resp3: bool) -> bytes:
    """Return the bytes of something pushed, such as a published message: in RESP2 it looks like a reply."""
    return (b">%d\r\n" if resp3 else b"*%d\r\n") % len(parts) + b"".join([encode(part, resp3) for part in parts])
