"""Clients of the three dialects. Each `expect…` checks the very next message, so that extra ones are noticed."""

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
# This is the format of C's ctime, which pads the day of the month with a space.
STAMPED = re.compile(r"\[(\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4})\] ([^:]+): \((.*)\)", re.DOTALL)


def parse_stamped(line: str) -> tuple[datetime, str, str]:
    """Return the time (UTC), the sender and the text of `[Mon Nov 23 03:34:00 2026] alice: (hi)`."""
    match = STAMPED.fullmatch(line)
    assert match, f"not a stamped message: {line!r}"
    return datetime.strptime(match[1], "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC), match[2], match[3]


def when_said(line: str, sender: str, text: str) -> datetime:
    """Return the time (UTC) of a stamped message. Fails if it has another sender or text."""
    at, who, what = parse_stamped(line)
    assert (who, what) == (sender, text)
    return at


class Plain(Wire):
    """A client of a dialect in which the first line is the name."""

    def send(self, line: str, /) -> None:
        raise NotImplementedError

    def expect(self, line: str, /) -> None:
        raise NotImplementedError

    def login(self, name: str, reply: str = "OK") -> None:
        self.name = name
        self.send(name)
        self.expect(reply)


class TextClient(Plain):
    """A client that acts like a person with nc."""

    def send(self, *lines: str) -> None:
        self.send_bytes("".join(f"{line}\n" for line in lines).encode())

    def expect(self, *lines: str, patience: float = PATIENCE) -> None:
        for expected in lines:
            line = self.line(patience)
            assert line == expected, f"{self} got {line!r} instead of {expected!r}"

    def expect_notice(self, about: str = "") -> str:
        """Expect a line that the original server didn't have, and check that it contains `about`."""
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
        """Check that the node has handled everything and sent nothing more, by provoking a refusal."""
        self.send(f"To:{self.name}")
        self.expect(NO_SELF_TALK)


class JsonClient(Wire):
    """A client that acts like a program."""

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
        """Return the next frame, which must have this type and at least these fields. `from_` stands for `from`."""
        return self._as_wanted(self.frame(patience), type, fields)

    def expect_past_absences(self, type: str, patience: float = PATIENCE, **fields: Any) -> Frame:
        """Do the same as `expect`, but skip earlier `away` and `back` frames.

        After a failover of Redis each node reconnects in its own time. Until both have, a node may take the other for
        lost.
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
        """Read acknowledgements with rising ids until one covers this id."""
        reached = 0
        while reached < up_to:
            frame = self.expect("ack")
            assert reached < frame["id"] <= up_to, f"{self} got {frame} after {reached}"
            reached = frame["id"]

    def expect_nothing_so_far(self) -> None:
        """Check that the node has handled everything and sent nothing more."""
        self.send("ping")
        self.expect("pong")

    def frames_so_far(self) -> list[Frame]:
        """Return the frames up to now, including the outcomes of everything that was sent."""
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
            self.finish()  # only this ends the connection of one without a name


class ClassicClient(Plain):
    """A client that acts like the original one, which takes each read for one message."""

    def send(self, text: str) -> None:
        self.send_bytes(text.encode())

    def read(self, patience: float = PATIENCE) -> str:
        """Return the result of a single recv of at most 1024 bytes, as the original client does."""
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
        """Check that the node has handled everything and sent nothing more, by provoking a refusal."""
        self.send(f"To:{self.name}")
        self.expect(NO_SELF_TALK)


Client = TextClient | JsonClient | ClassicClient
