"""The text dialect, for people who use `nc`. Replies of the original server keep its spelling."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from relay.protocol.commands_and_events import (
    Acked,
    Away,
    Back,
    Blocked,
    Bye,
    Call,
    Claim,
    Command,
    Event,
    Invited,
    Known,
    Left,
    Malformed,
    Messages,
    Missed,
    Moving,
    Noop,
    Paired,
    PartnerTyping,
    Pong,
    Quit,
    Refused,
    Replaced,
    Rings,
    Say,
    Unconfirmed,
    Welcome,
)
from relay.protocol.dialects.escape import escape
from relay.protocol.dialects.framing import Line, TooLong, too_long
from relay.protocol.errors import Code, Reason

# The white space that people type or paste around a name. `str.strip()` would also drop control characters, which have
# to be refused.
WHITE_SPACE: Final = (
    " \t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
)

# No valid name has more than 32 code points, but a refusal may quote an invalid one.
MAX_NAME_SHOWN: Final = 64

# Messages of the same second share a time stamp. Late messages may need a few older ones.
STAMPS_KEPT: Final = 64

NAME_LOST: Final = "* Your name now belongs to another connection."

# The lines for refusals. Every other code, and one whose name isn't known, is shown with its message.
REFUSALS: Final[Mapping[Code, str]] = {
    Code.NAME_TAKEN: "Reuse",
    Code.SELF_CHAT: "Please don't try to talk with yourself.",
    Code.NO_SUCH_USER: "the user {name} is not exist",
    Code.BUSY: "* {name} is talking with someone else.",
    Code.AWAY: "* {name} is away.",
    Code.DECLINED: "* {name} did not take the call.",
    Code.NOT_PAIRED: "Nobody is chating with you. Maybe the one talked with you is talking with someone else",
    Code.UNAVAILABLE: "* Not possible right now, try again.",
    Code.NAME_LOST: NAME_LOST,
    Code.KICKED: "* You have been disconnected by the operator.",
}

Tell = Callable[[Any], str]


def _nothing(_: Event) -> str:
    return ""


def _messages(event: Messages) -> str:
    start = f"[{ctime(int(event.at))}] {escape(event.sender)}: ("
    lines = event.texts
    if not "".join(lines).isprintable():  # printable text, nearly all of it, has no LF and nothing to escape
        lines = [escape(line) for text in lines for line in text.split("\n")]
    return start + f")\n{start}".join(lines) + ")"


@lru_cache(STAMPS_KEPT)
def ctime(second: int) -> str:
    """Return a Unix time in the format of C's ctime(), in UTC, such as `Mon Nov 23 03:34:00 2026`."""
    return time.asctime(time.gmtime(second))


def _paired(event: Paired) -> str:
    name = escape(event.name)
    return f"* You are chatting with {name}." if event.caller else f"* {name} is chatting with you."


def _left(event: Left) -> str:
    if event.own:
        return ""
    return f"* {escape(event.name)} left the chat." if event.reason is Reason.LEFT else "Quit."


def _unconfirmed(event: Unconfirmed) -> str:
    return "\n".join([f"* May not have arrived: {escape(text)}" for text in event.texts])


def _refused(event: Refused) -> str:
    template = REFUSALS.get(event.code, "* {message}")
    if event.name is None and "{name}" in template:
        template = "* {message}"
    return template.format(name=escape((event.name or "")[:MAX_NAME_SHOWN]), message=escape(event.message))


# The text of each event without its line end. It is empty for an event that text clients aren't sent.
TELL: Final[Mapping[type[Event], Tell]] = {
    Welcome: lambda _: "OK",
    Paired: _paired,
    Messages: _messages,
    Acked: _nothing,
    Unconfirmed: _unconfirmed,
    Away: lambda event: f"* {escape(event.name)} is away.",
    Back: lambda event: f"* {escape(event.name)} is back.",
    Left: _left,
    Known: _nothing,
    Invited: _nothing,
    Missed: _nothing,
    Rings: lambda event: f"* {escape(event.name)} is being asked.",
    Blocked: _nothing,
    PartnerTyping: _nothing,
    Moving: lambda _: "* This node is going away; please reconnect.",
    Replaced: lambda _: NAME_LOST,
    Refused: _refused,
    Pong: _nothing,
    Bye: lambda _: "Quit",
}


class TextDialect:
    """A dialect of plain lines, made from a table with the text of each event, and the end of each reply."""

    def __init__(self, tell: Mapping[type[Event], Tell], end: str) -> None:
        self._tell = tell
        self._end = end

    def parse(self, line: bytes, named: bool) -> Command:
        """Return the command in the line. Before the client has a name, a line is a claim of one."""
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return Malformed(Code.BAD_FRAME, "not valid UTF-8, not sent")
        if text == "Quit":
            return Quit()
        if not named:
            return Claim(text.strip(WHITE_SPACE)) if text else Quit()
        if text.startswith("To:"):
            return Call(text[len("To:") :].strip(WHITE_SPACE))
        return Say(text) if text else Noop()

    def too_long(self, mark: TooLong) -> Malformed:
        """Return the refusal of a line that was too long."""
        return too_long(mark)

    def more(self, said: Say, lines: Iterable[Line], most: int, room: int) -> list[str]:
        """Return the lines that follow up to the first that isn't a message. Text messages have no ids to compare."""
        texts = list[str]()
        for line in islice(lines, most):
            if type(line) is not bytes or not line or len(line) > room or line.startswith(b"To:") or line == b"Quit":
                break
            try:
                texts.append(line.decode())
            except UnicodeDecodeError:
                break
            room -= len(line)
        return texts

    def render(self, event: Event) -> bytes:
        """Return the text of the event with the end of a reply, or `b""` if this dialect has no text for it."""
        told = self._tell[type(event)](event)
        return (told + self._end).encode() if told else b""


TEXT: Final = TextDialect(TELL, "\n")
