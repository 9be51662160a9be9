"""Clients of the three dialects. Each `expect…` takes the very next thing that comes, so nothing extra goes unseen."""

import contextlib
import json
import re
import time
from datetime import UTC, datetime
from typing import Any

from tests.support.process import PATIENCE
from tests.support.wire import Wire

Frame = dict[str, Any]

NO_SELF_TALK = "Please don't try to talk with yourself."
ALONE = "Nobody is chating with you. Maybe the one talked with you is talking with someone else"
# C's ctime: the day of the month is padded with a blank.
STAMPED = re.compile(r"\[(\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4})\] ([^:]+): \((.*)\)", re.DOTALL)


def parse_stamped(line: str) -> tuple[datetime, str, str]:
    """When (UTC), who, what of `[Mon Nov 23 03:34:00 2026] alice: (hi)`."""
    match = STAMPED.fullmatch(line)
    assert match, f"not a stamped message: {line!r}"
    return datetime.strptime(match[1], "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC), match[2], match[3]


def when_said(line: str, sender: str, text: str) -> datetime:
    """When (UTC) that was said."""
    at, who, what = parse_stamped(line)
    assert (who, what) == (sender, text)
    return at


class Plain(Wire):
    """Whose first words are a name."""

    def send(self, line: str, /) -> None:
        raise NotImplementedError

    def expect(self, line: str, /) -> None:
        raise NotImplementedError

    def login(self, name: str, reply: str = "OK") -> None:
        self.name = name
        self.send(name)
        self.expect(reply)


class TextClient(Plain):
    """What a person does with nc."""

    def send(self, *lines: str) -> None:
        self.send_bytes("".join(f"{line}\n" for line in lines).encode())

    def expect(self, *lines: str, patience: float = PATIENCE) -> None:
        for expected in lines:
            line = self.line(patience)
            assert line == expected, f"{self} got {line!r} instead of {expected!r}"

    def expect_notice(self, about: str = "") -> str:
        """A line that the original server didn't know, holding a word."""
        line = self.line()
        assert line.startswith("* "), f"{self} got {line!r} instead of a notice"
        assert about in line.casefold(), f"{self} got {line!r}, which says nothing of {about!r}"
        return line

    def expect_message(self, sender: str, text: str, patience: float = PATIENCE) -> datetime:
        return when_said(self.line(patience), sender, text)

    def call(self, name: str) -> None:
        """Call a free user."""
        self.send(f"To:{name}")
        self.expect(f"* You are chatting with {name}.")

    def expect_nothing_so_far(self) -> None:
        """The node has handled all that we sent, and had nothing more to tell: a refusal of its own comes next."""
        self.send(f"To:{self.name}")
        self.expect(NO_SELF_TALK)


class JsonClient(Wire):
    """What a program does."""

    token: str | None = None

    def send(self, type: str, **fields: Any) -> None:
        self.send_line(json.dumps({"type": type, **fields}, ensure_ascii=False))

    def send_line(self, line: str) -> None:
        self.send_bytes(line.encode() + b"\n")

    def frame(self, patience: float = PATIENCE) -> Frame:
        frame = json.loads(self.line(patience))
        assert isinstance(frame, dict)
        return frame

    def expect(self, type: str, patience: float = PATIENCE, **fields: Any) -> Frame:
        """The next frame is of this type and has at least these fields; `from_` stands for the reserved word."""
        return self._as_wanted(self.frame(patience), type, fields)

    def expect_past_absences(self, type: str, patience: float = PATIENCE, **fields: Any) -> Frame:
        """The same, but the partner may have been away and back before.

        Where one server of Redis takes another's place, each node follows in its own time; until both have, a node may
        take the other for lost.
        """
        deadline = time.monotonic() + patience
        while (frame := self.frame(max(0.01, deadline - time.monotonic())))["type"] in ("away", "back"):
            pass
        return self._as_wanted(frame, type, fields)

    def _as_wanted(self, frame: Frame, type: str, fields: Frame) -> Frame:
        wanted = {"type": type, **{key.rstrip("_"): value for key, value in fields.items()}}
        got = {key: frame.get(key) for key in wanted}
        assert got == wanted, f"{self} got {frame} instead of {wanted}"
        return frame

    def expect_error(self, code: str, **fields: Any) -> Frame:
        frame = self.expect("error", code=code, **fields)
        assert isinstance(frame["message"], str), frame
        assert frame["message"], f"an error explains itself: {frame}"
        return frame

    def expect_acked(self, up_to: int) -> None:
        """Acknowledgements, rising, until one covers this id."""
        reached = 0
        while reached < up_to:
            frame = self.expect("ack")
            assert reached < frame["id"] <= up_to, f"{self} got {frame} after {reached}"
            reached = frame["id"]

    def expect_nothing_so_far(self) -> None:
        """The node has handled all that we sent, and had nothing more to tell."""
        self.send("ping")
        self.expect("pong")

    def frames_so_far(self) -> list[Frame]:
        """What the node had to tell up to now, the outcome of everything sent included."""
        self.send("ping")
        frames = []
        while (frame := self.frame())["type"] != "pong":
            frames.append(frame)
        return frames

    def hello(self, name: str, **fields: Any) -> Frame:
        self.name = name
        self.send("hello", name=name, **fields)
        welcome = self.expect("welcome", name=name)
        self.token = welcome["token"]
        return welcome

    def call(self, name: str) -> Frame:
        """Call a free user."""
        self.send("to", name=name)
        return self.expect("paired", name=name)

    def who(self, name: str) -> str:
        self.send("who", name=name)
        return str(self.expect("presence")["state"])

    def farewell(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.settimeout(1)
            self.send("quit")


class ClassicClient(Plain):
    """What the original client does: what one read returns is one message."""

    def send(self, text: str) -> None:
        self.send_bytes(text.encode())

    def read(self, patience: float = PATIENCE) -> str:
        """One bare recv, as long as the original's."""
        self.socket.settimeout(patience)
        data = self.socket.recv(1024)
        assert data, f"{self} was closed"
        return data.decode()

    def expect(self, *replies: str) -> None:
        for expected in replies:
            reply = self.read()
            assert reply == expected, f"{self} got {reply!r} instead of {expected!r}"

    def expect_message(self, sender: str, text: str) -> datetime:
        return when_said(self.read(), sender, text)

    def expect_nothing_so_far(self) -> None:
        """As for text: a refusal of its own comes next."""
        self.send(f"To:{self.name}")
        self.expect(NO_SELF_TALK)


Client = TextClient | JsonClient | ClassicClient
