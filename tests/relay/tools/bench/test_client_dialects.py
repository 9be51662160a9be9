"""The bytes that the load generator writes and reads."""

from collections import Counter

from relay.tools.bench.client_dialects import TEXT_BYTES, Heard, Json, Text
from tests.support.rows import each_row

STAMP = b"0000000000000000042"
SAID = "@0000000000000000042 hello there, how are you doing today..."
TEXT = Text()
JSON = Json(acks=False)
ACKING = Json(acks=True)


def test_texts_have_the_size_that_is_promised() -> None:
    assert len(SAID) == TEXT_BYTES
    assert TEXT.say(1, 1, 42) == f"{SAID}\n".encode()


def test_json_says() -> None:
    assert JSON.hello("al") == b'{"type":"hello","v":1,"name":"al","acks":false}\n'
    assert ACKING.hello("al") == b'{"type":"hello","v":1,"name":"al","acks":true}\n'
    assert JSON.call("bo") == b'{"type":"to","name":"bo"}\n'
    assert JSON.say(7, 2, 42) == (
        f'{{"type":"msg","id":7,"text":"{SAID}"}}\n{{"type":"msg","id":8,"text":"{SAID}"}}\n'.encode()
    )
    assert JSON.confirm(9) == b""
    assert ACKING.confirm(9) == b'{"type":"ack","id":9}\n'


def test_text_says() -> None:
    assert TEXT.hello("al") == b"al\n"
    assert TEXT.call("bo") == b"To:bo\n"
    assert TEXT.say(7, 2, 42) == f"{SAID}\n{SAID}\n".encode()
    assert TEXT.confirm(9) == b""


def msg(id: int, stamp: int) -> bytes:
    text = f"@{stamp:019d} hello"
    return b'{"type":"msg","id":%d,"from":"bo","chat":"c","text":"%s","at":1.5}\n' % (id, text.encode())


def test_json_hears_messages() -> None:
    heard = JSON.read(msg(3, 42) + msg(4, 42) + msg(5, 43))
    assert heard == Heard(stamps=Counter({STAMP: 2, b"0000000000000000043": 1}), last=5)


def test_json_hears_what_is_between_messages() -> None:
    heard = JSON.read(msg(3, 42) + b'{"type":"ack","id":17,"chat":"c"}\n{"type":"pong"}\n' + msg(4, 42))
    assert heard == Heard(stamps=Counter({STAMP: 2}), last=4, answered=17)


@each_row(
    ("line", "heard"),
    [
        (b'{"type":"welcome","v":1,"name":"al","token":"t","window":99}', Heard(greeted=True, window=99)),
        (b'{"type":"paired","name":"bo","chat":"c","acks":"node","resumed":false}', Heard(paired=True)),
        (b'{"type":"unconfirmed","from":18,"to":20,"reason":"lost"}', Heard(unconfirmed=3, answered=20)),
        (b'{"type":"error","code":"unavailable","message":"m"}', Heard(later=True)),
        (b'{"type":"error","code":"name_taken","message":"m"}', Heard(complaints=["name_taken"])),
        (b'{"type":"left","name":"bo","reason":"quit"}', Heard(complaints=["left: quit"])),
        (b'{"type":"news"}', Heard(complaints=["unexpected: news"])),
        (b"HTTP/1.1 400 Bad \xff", Heard(complaints=["unexpected: HTTP/1.1 400 Bad \\xff"])),
        (b'{"type":"away","name":"bo","grace":30}', Heard()),
    ],
)
def test_json_hears(line: bytes, heard: Heard) -> None:
    assert JSON.read(line + b"\n") == heard


def test_text_hears_messages_and_what_is_between_them() -> None:
    line = f"[Mon Nov 23 03:34:00 2026] bo: ({SAID})\n".encode()
    assert TEXT.read(line + line) == Heard(stamps=Counter({STAMP: 2}))
    between = line + b"* May not have arrived: @1 hello\n" + line
    assert TEXT.read(between) == Heard(stamps=Counter({STAMP: 2}), unconfirmed=1)


@each_row(
    ("line", "heard"),
    [
        (b"OK", Heard(greeted=True)),
        (b"* You are chatting with bo.", Heard(paired=True)),
        (b"* bo is chatting with you.", Heard(paired=True)),
        (b"* May not have arrived: @1 hello", Heard(unconfirmed=1)),
        (b"* bo is away.", Heard()),
        (b"Reuse", Heard(complaints=["Reuse"])),
        (b"Quit.", Heard(complaints=["Quit."])),
        (b"* Not possible right now, try again.", Heard(later=True)),
    ],
)
def test_text_hears(line: bytes, heard: Heard) -> None:
    assert TEXT.read(line + b"\n") == heard
