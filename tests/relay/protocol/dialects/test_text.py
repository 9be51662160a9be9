"""The text dialect to the letter, and the classic dialect, which is the same without line ends."""

import unicodedata
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from relay.protocol.dialects import CLASSIC, TEXT, Dialect, LineFramer, RawFramer, TooLong
from relay.protocol.dialects.text import TextDialect
from relay.protocol.errors import Code, Presence, Reason
from relay.shared_types import LAST_SECOND
from tests.support.rows import each_row

AT = 1795404840.9  # Mon Nov 23 03:34:00 2026, UTC
NOT_UTF8 = Malformed(Code.BAD_FRAME, "not valid UTF-8, not sent")


@each_row(
    ("line", "command"),
    [
        (b"alice", Claim("alice")),
        (b" \talice\xe3\x80\x80", Claim("alice")),
        ("张三".encode(), Claim("张三")),
        (b"alice\x1f", Claim("alice\x1f")),  # a control character is not white space, and the session refuses it
        (b"al ice", Claim("al ice")),
        (b" ", Claim("")),
        (b"To:bob", Claim("To:bob")),
        (b"Quit", Quit()),
        (b"", Quit()),
        (b"\xff", NOT_UTF8),
    ],
)
@each_row("dialect", [TEXT, CLASSIC])
def test_the_first_line_is_a_name(dialect: Dialect, line: bytes, command: Command) -> None:
    assert dialect.parse(line, named=False) == command


@each_row(
    ("line", "command"),
    [
        (b"hi", Say("hi")),
        (b" hi ", Say(" hi ")),
        ("你好 👩‍👩‍👧".encode(), Say("你好 👩‍👩‍👧")),
        (b"\x00\x1b[2J", Say("\x00\x1b[2J")),
        (b"", Noop()),
        (b"Quit", Quit()),
        (b"quit", Say("quit")),
        (b"Quit ", Say("Quit ")),
        (b"To:bob", Call("bob")),
        (b"To: bob\t", Call("bob")),
        (b"To:", Call("")),
        (b"To: ", Call("")),
        (b"to:bob", Say("to:bob")),
        (b'{"type":"quit"}', Say('{"type":"quit"}')),
        (b"a\xff", NOT_UTF8),
        (b"\xed\xa0\x80", NOT_UTF8),
    ],
)
@each_row("dialect", [TEXT, CLASSIC])
def test_later_lines_are_calls_and_messages(dialect: Dialect, line: bytes, command: Command) -> None:
    assert dialect.parse(line, named=True) == command


# The words that `parse` compares a line with, which are those of the commands.
WORDS = [word for word in TextDialect.parse.__code__.co_consts if isinstance(word, str) and "\n" not in word]
LINES = ["", "hi", *(line for word in WORDS for line in (word, f"{word} ann", f"{word}ann", f" {word}", word.lower()))]


def test_the_words_of_the_commands_are_found() -> None:
    """If `parse` finds commands in another way some day, the next test has to find them there too."""
    assert {"Quit", "To:"} <= set(WORDS)


@each_row("line", [*(line.encode() for line in LINES), b"\xff"])
@each_row("dialect", [TEXT, CLASSIC])
def test_lines_that_are_taken_at_once_are_messages_and_no_commands(dialect: Dialect, line: bytes) -> None:
    """Otherwise a command would be sent to the partner if it came in one read with a message."""
    command = dialect.parse(line, named=True)
    taken = dialect.more(Say("hi"), [line], 1, 1000)
    assert taken == ([command.text] if isinstance(command, Say) else [])


TOLD: list[tuple[Event, str]] = [
    (Welcome("alice", "t", False, 30, 256, 1 << 20, 30, "n1", 65536), "OK"),
    (Paired("bob", "c", "node", caller=True), "* You are chatting with bob."),
    (Paired("alice", "c", "node", caller=False), "* alice is chatting with you."),
    (Messages(1, "alice", "c", ["hi"], AT), "[Mon Nov 23 03:34:00 2026] alice: (hi)"),
    (Messages(1, "alice", "c", ["(hi) %s {x}"], AT), "[Mon Nov 23 03:34:00 2026] alice: ((hi) %s {x})"),
    (Messages(1, "alice", "c", ["你好 👩‍👩‍👧"], 0.0), "[Thu Jan  1 00:00:00 1970] alice: (你好 👩‍👩‍👧)"),
    (Messages(1, "alice", "c", ["hi"], float(LAST_SECOND)), "[Fri Dec 31 23:59:59 9999] alice: (hi)"),
    (
        Messages(1, "alice", "c", ["one\n\ntwo\r\n\x1b[2J\u202e"], AT),
        "[Mon Nov 23 03:34:00 2026] alice: (one)\n"
        "[Mon Nov 23 03:34:00 2026] alice: ()\n"
        "[Mon Nov 23 03:34:00 2026] alice: (two\\x0d)\n"
        "[Mon Nov 23 03:34:00 2026] alice: (\\x1b[2J\\u202e)",
    ),
    (Acked(1, "c"), ""),
    (Unconfirmed(1, 1, Reason.LOST), ""),
    (Unconfirmed(1, 2, Reason.LOST, ("a\nb", "c")), "* May not have arrived: a\\x0ab\n* May not have arrived: c"),
    (Away("bob", 30, "c"), "* bob is away."),
    (Back("bob", "c"), "* bob is back."),
    (Left("alice", Reason.LEFT, "c"), "* alice left the chat."),
    (Left("alice", Reason.LEFT, "c", own=True), ""),
    (Left("alice", Reason.QUIT, "c"), "Quit."),
    (Left("alice", Reason.LOST, "c"), "Quit."),
    (Left("alice", Reason.KICKED, "c"), "Quit."),
    (Known("bob", Presence.FREE), ""),
    (Invited("bob", "c1", 30.0), ""),
    (Missed("bob", "c1"), ""),
    (Rings("b\x1bob", 30.0, "c"), "* b\\x1bob is being asked."),
    (Blocked("bob", True), ""),
    (PartnerTyping("bob", "c1"), ""),
    (Moving(), "* This node is going away; please reconnect."),
    (Replaced(), "* Your name now belongs to another connection."),
    (Pong(), ""),
    (Bye(), "Quit"),
    (Refused(Code.NAME_TAKEN, "m", name="alice"), "Reuse"),
    (Refused(Code.NAME_INVALID, "no white space"), "* no white space"),
    (Refused(Code.SELF_CHAT, "m", name="alice"), "Please don't try to talk with yourself."),
    (Refused(Code.NO_SUCH_USER, "m", name="bob"), "the user bob is not exist"),
    (Refused(Code.NO_SUCH_USER, "nobody is called so"), "* nobody is called so"),
    (Refused(Code.BUSY, "m", name="bob"), "* bob is talking with someone else."),
    (Refused(Code.BUSY, "m", name="{message}\n"), "* {message}\\x0a is talking with someone else."),
    (Refused(Code.BUSY, "m", name="b" * 65536), f"* {'b' * 64} is talking with someone else."),
    (Refused(Code.AWAY, "m", name="bob"), "* bob is away."),
    (
        Refused(Code.NOT_PAIRED, "m"),
        "Nobody is chating with you. Maybe the one talked with you is talking with someone else",
    ),
    (Refused(Code.UNAVAILABLE, "m"), "* Not possible right now, try again."),
    (Refused(Code.NAME_LOST, "m"), "* Your name now belongs to another connection."),
    (Refused(Code.KICKED, "m"), "* You have been disconnected by the operator."),
    (Refused(Code.TOO_LONG, "line too long: {0}\n", name="bob"), "* line too long: {0}\\x0a"),
    (Refused(Code.BAD_FRAME, "not valid UTF-8, not sent"), "* not valid UTF-8, not sent"),
]


@each_row(("event", "told"), TOLD)
def test_a_person_is_told_in_whole_lines(event: Event, told: str) -> None:
    assert TEXT.render(event) == (f"{told}\n".encode() if told else b"")


@each_row(("event", "told"), [case for case in TOLD if not isinstance(case[0], Paired)])
def test_the_original_client_is_told_in_bare_strings(event: Event, told: str) -> None:
    assert CLASSIC.render(event) == told.encode()


@pytest.mark.parametrize("caller", [True, False])
def test_the_original_client_is_not_told_of_a_new_chat(caller: bool) -> None:
    assert CLASSIC.render(Paired("bob", "c", "node", caller=caller)) == b""


def test_every_event_has_its_words() -> None:
    assert {type(event) for event, _ in TOLD} == set(get_args(Event))


@each_row("code", Code)
def test_every_refusal_is_told(code: Code) -> None:
    assert TEXT.render(Refused(code, "m")).endswith(b"\n")


# --- whatever peers send

hostile = st.text(st.characters())


@given(hostile, hostile)
def test_nothing_that_a_text_client_is_told_holds_a_control_but_the_line_end(one: str, two: str) -> None:
    events: list[Event] = [
        Messages(1, one, "c", [two], AT),
        Unconfirmed(1, 2, Reason.LOST, (one, two)),
        Paired(one, "c", "node"),
        Paired(one, "c", "node", caller=False),
        Away(one, 30, "c"),
        Back(one, "c"),
        Left(one, Reason.LEFT, "c"),
        *(Refused(code, two, name=one) for code in Code),
    ]
    for event in events:
        shown = TEXT.render(event).decode()
        assert shown.endswith("\n")
        assert not any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in shown.replace("\n", ""))


@given(st.lists(st.binary(max_size=40)), st.booleans())
def test_whatever_a_client_sends_is_a_command(chunks: list[bytes], named: bool) -> None:
    for framer in (LineFramer(20), RawFramer(20)):
        for line in [line for chunk in chunks for line in framer.feed(chunk)]:
            command = TEXT.too_long(line) if isinstance(line, TooLong) else TEXT.parse(line, named)
            assert isinstance(command, get_args(Command))
