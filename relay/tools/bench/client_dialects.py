"""The two dialects for the load generator: they encode requests and read replies. No I/O."""

import re
from collections import Counter
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct, field

TEXT_BYTES: Final = 60  # about the length of a message that people write
_STAMP_DIGITS: Final = 19
_REST: Final = " hello there, how are you doing today"[: TEXT_BYTES - 1 - _STAMP_DIGITS].ljust(
    TEXT_BYTES - 1 - _STAMP_DIGITS, "."
)


class Heard(Struct):
    """The meaning of the lines of one read."""

    greeted: bool = False
    paired: bool = False
    stamps: Counter[bytes] = field(default_factory=Counter)  # the number of the partner's messages by time stamp
    last: int = 0  # the highest id among them, or 0 if there is none or the dialect has no ids
    answered: int = 0  # the outcome of all messages up to this id is known
    unconfirmed: int = 0  # messages of this user that may not have arrived
    later: bool = False  # the request isn't possible right now, and has to be repeated
    window: int = 0  # how many messages may be unacknowledged, or 0 if this wasn't said
    complaints: list[str] = field(default_factory=list)  # refusals, and reasons why a chat ended


class Speech(Protocol):
    """The encoding of one dialect."""

    def hello(self, name: str) -> bytes:
        """Return the bytes that claim a name."""

    def call(self, name: str) -> bytes:
        """Return the bytes that start a chat."""

    def say(self, first: int, count: int, stamp: int) -> bytes:
        """Return `count` messages with ids from `first` on, all stamped with this time in nanoseconds."""

    def confirm(self, id: int) -> bytes:
        """Return the acknowledgement up to this id, or b"" if clients don't acknowledge."""

    def read(self, block: bytes) -> Heard:
        """Return the meaning of complete lines from a node."""


def _text(stamp: int) -> str:
    return f"@{stamp:0{_STAMP_DIGITS}d}{_REST}"


class Text:
    """The dialect for people."""

    # Messages of a partner. Notices such as `* alice is chatting with you.` never begin like this.
    _MESSAGE: Final = re.compile(rb"^\[[^]\n]+\] [^\n]*?: \(@(\d+) [^\n]*\)$", re.MULTILINE)
    _ignored: Final = re.compile(rb"\* \S+ is (away|back)\.$")

    def hello(self, name: str) -> bytes:
        """Return the line that claims the name."""
        return f"{name}\n".encode()

    def call(self, name: str) -> bytes:
        """Return the line that calls the user."""
        return f"To:{name}\n".encode()

    def say(self, first: int, count: int, stamp: int) -> bytes:
        """Return `count` lines with this time. Text messages have no ids."""
        return f"{_text(stamp)}\n".encode() * count

    def confirm(self, id: int) -> bytes:
        """Return nothing, because the node acknowledges for text clients."""
        return b""

    def read(self, block: bytes) -> Heard:
        """Count the messages and notices in complete lines from a node."""
        found = self._MESSAGE.findall(block)
        heard = Heard(stamps=Counter(found))
        if len(found) != block.count(b"\n"):
            for line in block.splitlines():
                if not self._MESSAGE.match(line):
                    self._read_other(line, heard)
        return heard

    def _read_other(self, line: bytes, heard: Heard) -> None:
        if line == b"OK":
            heard.greeted = True
        elif line.startswith(b"* You are chatting with ") or line.endswith(b" is chatting with you."):
            heard.paired = True
        elif line == b"* Not possible right now, try again.":
            heard.later = True
        elif line.startswith(b"* May not have arrived: "):
            heard.unconfirmed += 1
        elif not self._ignored.match(line):
            heard.complaints.append(line.decode(errors="backslashreplace"))


class Json:
    """The dialect for programs."""

    _MESSAGE: Final = re.compile(rb'^\{"type":"msg","id":(\d+),[^\n]*?"text":"@(\d+) [^\n]*\}$', re.MULTILINE)
    _ACK: Final = re.compile(rb'\{"type":"ack","id":(\d+)')

    def __init__(self, *, acks: bool) -> None:
        self._acks = acks

    def hello(self, name: str) -> bytes:
        """Return the frame that claims the name."""
        return msgspec.json.encode({"type": "hello", "v": 1, "name": name, "acks": self._acks}) + b"\n"

    def call(self, name: str) -> bytes:
        """Return the frame that calls the user."""
        return msgspec.json.encode({"type": "to", "name": name}) + b"\n"

    def say(self, first: int, count: int, stamp: int) -> bytes:
        """Return `count` frames with consecutive ids and this time."""
        tail = f',"text":"{_text(stamp)}"}}\n'
        return "".join([f'{{"type":"msg","id":{id}{tail}' for id in range(first, first + count)]).encode()

    def confirm(self, id: int) -> bytes:
        """Return the acknowledgement up to this id, or b"" if the node acknowledges."""
        return b'{"type":"ack","id":%d}\n' % id if self._acks else b""

    def read(self, block: bytes) -> Heard:
        """Count the messages, acknowledgements and other frames in complete lines from a node."""
        found = self._MESSAGE.findall(block)
        heard = Heard(stamps=Counter([stamp for _, stamp in found]))
        if found:
            heard.last = int(found[-1][0])
        if len(found) != block.count(b"\n"):
            for line in block.splitlines():
                if ack := self._ACK.match(line):
                    heard.answered = int(ack[1])
                elif not self._MESSAGE.match(line):
                    self._read_other(line, heard)
        return heard

    def _read_other(self, line: bytes, heard: Heard) -> None:
        try:
            frame: dict[str, Any] = msgspec.json.decode(line, type=dict)
        except msgspec.DecodeError:
            frame = {}
        match frame.get("type"):
            case "welcome":
                heard.greeted, heard.window = True, frame["window"]
            case "paired":
                heard.paired = True
            case "unconfirmed":
                heard.unconfirmed += frame["to"] - frame["from"] + 1
                heard.answered = frame["to"]
            case "pong" | "away" | "back" | "moving":
                pass  # their consequences show in the counts
            case "error" if frame["code"] == "unavailable":
                heard.later = True
            case "error":
                heard.complaints.append(str(frame["code"]))
            case "left":
                heard.complaints.append(f"left: {frame['reason']}")
            case other:
                heard.complaints.append(f"unexpected: {other or line[:80].decode(errors='backslashreplace')}")


def speech(dialect: str, *, acks: bool) -> Speech:
    """Return the dialect of this name."""
    return Text() if dialect == "text" else Json(acks=acks)
