"""The frames on the wire, byte for byte, and lines that are refused."""

import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.protocol.errors import Code
from relay.protocol.json_frames import (
    MAX_ID,
    BadFrame,
    ClientAccept,
    ClientAck,
    ClientBlock,
    ClientCancel,
    ClientDecline,
    ClientFrame,
    ClientHello,
    ClientLeave,
    ClientMsg,
    ClientPing,
    ClientQuit,
    ClientTo,
    ClientTyping,
    ClientUnblock,
    ClientWho,
    NodeAck,
    NodeAway,
    NodeBack,
    NodeBlocked,
    NodeBye,
    NodeError,
    NodeFrame,
    NodeInvited,
    NodeLeft,
    NodeMissed,
    NodeMoving,
    NodeMsg,
    NodePaired,
    NodePong,
    NodePresence,
    NodeReplaced,
    NodeRinging,
    NodeTyping,
    NodeUnblocked,
    NodeUnconfirmed,
    NodeWelcome,
    decode_client,
    decode_node,
    encode,
)
from tests.support.rows import each_row

# The bounds of a line's cost, for any length. They need no clock, because the machine may be busy.
MOST_STEPS = 1_000  # lines of Python
MOST_MEMORY = 10_000  # bytes

DEEP = 100_000

SHORT = 120  # characters: an explanation is one sentence

CLIENT: list[tuple[ClientFrame, bytes]] = [
    (ClientHello(name="alice"), b'{"type":"hello","v":1,"name":"alice"}'),
    (ClientHello(name="alice", acks=True), b'{"type":"hello","v":1,"name":"alice","acks":true}'),
    (
        ClientHello(name="alice", acks=True, token="t", chat="c", sent=7, last=9),
        b'{"type":"hello","v":1,"name":"alice","acks":true,"token":"t","chat":"c","sent":7,"last":9}',
    ),
    (ClientTo("bob"), b'{"type":"to","name":"bob"}'),
    (ClientMsg(1, "hi"), b'{"type":"msg","id":1,"text":"hi"}'),
    (ClientMsg(1, "hi", "c"), b'{"type":"msg","id":1,"text":"hi","chat":"c"}'),
    (ClientAck(17), b'{"type":"ack","id":17}'),
    (ClientAck(17, "c"), b'{"type":"ack","id":17,"chat":"c"}'),
    (ClientLeave(), b'{"type":"leave"}'),
    (ClientHello(name="alice", ask=True), b'{"type":"hello","v":1,"name":"alice","ask":true}'),
    (ClientCancel(), b'{"type":"cancel"}'),
    (ClientAccept("c"), b'{"type":"accept","chat":"c"}'),
    (ClientDecline("c"), b'{"type":"decline","chat":"c"}'),
    (ClientBlock("bob"), b'{"type":"block","name":"bob"}'),
    (ClientUnblock("bob"), b'{"type":"unblock","name":"bob"}'),
    (ClientTyping("c"), b'{"type":"typing","chat":"c"}'),
    (ClientWho("bob"), b'{"type":"who","name":"bob"}'),
    (ClientPing(), b'{"type":"ping"}'),
    (ClientQuit(), b'{"type":"quit"}'),
]

NODE: list[tuple[NodeFrame, bytes]] = [
    (
        NodeWelcome(1, "alice", "t", False, 30, 256, 1048576, 30, "n1"),
        b'{"type":"welcome","v":1,"name":"alice","token":"t","resumed":false,"grace":30,"window":256,'
        b'"window_bytes":1048576,"ping":30,"node":"n1"}',
    ),
    (
        NodePaired("bob", "c", "client", False),
        b'{"type":"paired","name":"bob","chat":"c","acks":"client","resumed":false}',
    ),
    (
        NodePaired("bob", "c", "node", True, 0),
        b'{"type":"paired","name":"bob","chat":"c","acks":"node","resumed":true,"last":0}',
    ),
    (
        NodeMsg(1, "bob", "c", "hi", 1795404840.123),
        b'{"type":"msg","id":1,"from":"bob","chat":"c","text":"hi","at":1795404840.123}',
    ),
    (NodeAck(17, "c"), b'{"type":"ack","id":17,"chat":"c"}'),
    (NodeUnconfirmed(18, 20, "lost"), b'{"type":"unconfirmed","from":18,"to":20,"reason":"lost"}'),
    (NodeAway("bob", 30), b'{"type":"away","name":"bob","grace":30}'),
    (NodeBack("bob"), b'{"type":"back","name":"bob"}'),
    (NodeLeft("bob", "quit"), b'{"type":"left","name":"bob","reason":"quit"}'),
    (NodeInvited("bob", "c", 30), b'{"type":"invited","name":"bob","chat":"c","wait":30}'),
    (NodeMissed("bob", "c"), b'{"type":"missed","name":"bob","chat":"c"}'),
    (NodeRinging("bob", 30), b'{"type":"ringing","name":"bob","wait":30}'),
    (NodeBlocked("bob"), b'{"type":"blocked","name":"bob"}'),
    (NodeUnblocked("bob"), b'{"type":"unblocked","name":"bob"}'),
    (NodeTyping("bob", "c"), b'{"type":"typing","name":"bob","chat":"c"}'),
    (NodePresence("bob", "free"), b'{"type":"presence","name":"bob","state":"free"}'),
    (NodeMoving(), b'{"type":"moving"}'),
    (NodeReplaced(), b'{"type":"replaced"}'),
    (NodeError("name_taken", "…"), '{"type":"error","code":"name_taken","message":"…"}'.encode()),
    (
        NodeError("bad_order", "m", id=9, expected=7),
        b'{"type":"error","code":"bad_order","message":"m","id":9,"expected":7}',
    ),
    (
        NodeError("bad_version", "m", name="bob", supported=(1,)),
        b'{"type":"error","code":"bad_version","message":"m","name":"bob","supported":[1]}',
    ),
    (NodePong(), b'{"type":"pong"}'),
    (NodeBye(), b'{"type":"bye"}'),
]


def test_every_frame_is_shown() -> None:
    assert {type(frame) for frame, _ in CLIENT} == set(get_args(ClientFrame))
    assert {type(frame) for frame, _ in NODE} == set(get_args(NodeFrame))


@each_row(("frame", "line"), [*CLIENT, *NODE])
def test_a_frame_is_written_as_the_protocol_shows_it(frame: ClientFrame | NodeFrame, line: bytes) -> None:
    assert encode(frame) == line + b"\n"


@each_row(("frame", "line"), CLIENT)
def test_a_node_reads_what_a_client_writes(frame: ClientFrame, line: bytes) -> None:
    assert decode_client(line) == decode_client(line + b"\n") == frame


@each_row(("frame", "line"), NODE)
def test_a_client_reads_what_a_node_writes(frame: NodeFrame, line: bytes) -> None:
    assert decode_node(line) == decode_node(line + b"\n") == frame


@each_row(
    ("line", "frame"),
    [
        (b'{"type":"hello","name":"alice"}', ClientHello(name="alice")),
        (b' { "name" : "bob" , "type" : "to" } \r', ClientTo("bob")),
        (b'{"type":"ping","extra":{"deep":[1,null,{"x":1e400}]}}', ClientPing()),
        (b'{"type":"ping","n":' + b"9" * 5000 + b"}", ClientPing()),
        (b'{"type":"msg","id":9007199254740991,"text":"\\ud83d\\ude00","chat":null}', ClientMsg(MAX_ID, "😀")),
        ('{"type":"msg","id":1,"text":"👩‍👩‍👧 שלום"}'.encode(), ClientMsg(1, "👩‍👩‍👧 שלום")),
        (b'{"type":"msg","id":1,"text":"\\u0000\\u001b[2J"}', ClientMsg(1, "\x00\x1b[2J")),
    ],
)
def test_lines_that_mean_the_same_are_read_as_the_same_frame(line: bytes, frame: ClientFrame) -> None:
    assert decode_client(line) == frame


def test_control_characters_leave_as_json_escapes() -> None:
    assert encode(NodeMsg(1, "bob", "c", 'a\n\x00\x1b"', 1.5)) == (
        b'{"type":"msg","id":1,"from":"bob","chat":"c","text":"a\\n\\u0000\\u001b\\"","at":1.5}\n'
    )


BAD: list[bytes] = [
    b"",
    b"  ",
    b"hello",
    b"[]",
    b"null",
    b'"type"',
    b"{}",
    b"{",
    b'{"type":"ping"} x',
    b'{"type":"ping"}{"type":"ping"}',
    b'{"type":"nonsense"}',
    b'{"type":"welcome"}',
    b'{"type":5}',
    b'{"type":null}',
    b'{"name":"alice"}',
    b'\xef\xbb\xbf{"type":"ping"}',
    # a field that is missing or of the wrong type
    b'{"type":"hello"}',
    b'{"type":"hello","name":5}',
    b'{"type":"hello","name":"a","acks":1}',
    b'{"type":"hello","name":"a","token":5}',
    b'{"type":"hello","name":"a","token":"t","sent":-1}',
    b'{"type":"hello","name":"a","v":"1"}',
    b'{"type":"hello","name":"a","v":1.5}',
    b'{"type":"hello","name":"a","v":true}',
    b'{"type":"hello","name":"a","v":null}',
    b'{"type":"to"}',
    b'{"type":"to","name":null}',
    b'{"type":"who","name":["bob"]}',
    b'{"type":"msg","id":1}',
    b'{"type":"msg","id":1,"text":""}',
    b'{"type":"msg","id":1,"text":{"a":1}}',
    b'{"type":"msg","id":1,"text":"a","chat":5}',
    b'{"type":"msg","text":"a"}',
    b'{"type":"msg","id":0,"text":"a"}',
    b'{"type":"msg","id":-1,"text":"a"}',
    b'{"type":"msg","id":1.0,"text":"a"}',
    b'{"type":"msg","id":"1","text":"a"}',
    b'{"type":"msg","id":true,"text":"a"}',
    b'{"type":"msg","id":9007199254740992,"text":"a"}',
    b'{"type":"ack","id":' + b"9" * 5000 + b"}",
    # no JSON
    b'{"type":"ping","x":NaN}',
    b'{"type":"ping","x":-Infinity}',
    b'{"type":"msg","id":NaN,"text":"a"}',
    b'{"type":"msg","id":1,"text":"a\tb"}',
    b'{"type":"msg","id":1,"text":"\\q"}',
    # no UTF-8, wherever it stands
    b'{"type":"msg","id":1,"text":"\xff"}',
    b'{"type":"msg","id":1,"text":"\xed\xa0\x80"}',
    b'{"type":"ping","x":"\xff"}',
    b'{"type":"ping","\xff":1}',
    b"\xff",
    # half a surrogate pair
    b'{"type":"msg","id":1,"text":"\\ud800"}',
    b'{"type":"msg","id":1,"text":"\\udc00"}',
    b'{"type":"msg","id":1,"text":"\\ud800\\ud800"}',
    b'{"type":"ping","x":"\\ud800"}',
    # bombs
    b"[" * DEEP,
    b'{"type":' + b"[" * DEEP,
    b'{"type":' + b"[" * DEEP + b"]" * DEEP + b"}",
    b'{"type":"ping","x":' + b"[" * DEEP,
    b'{"type":"msg","id":' + b"[" * DEEP + b"]" * DEEP + b',"text":"a"}',
    b'{"type":"hello","v":' + b"[" * DEEP + b"]" * DEEP + b"}",
]


def steps(decode: Callable[[bytes], object], line: bytes) -> int:
    """Return the number of Python lines that run, in and below the call.

    None of them is a loop over the line: a parser in C goes over it a few times.
    """
    count = 0

    def seen(_frame: FrameType, _event: str, _what: object) -> Callable[..., Any]:
        nonlocal count
        count += 1  # a loop counts each iteration, also if all of it is on one line
        return seen

    before = sys.gettrace()
    sys.settrace(seen)
    try:
        with suppress(BadFrame):
            decode(line)
    finally:
        sys.settrace(before)
    return count


def memory(decode: Callable[[bytes], object], line: bytes) -> int:
    """Return the most bytes that are allocated. Nothing is built from skipped data."""
    tracemalloc.start()
    try:
        with suppress(BadFrame):
            decode(line)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def is_cheap(decode: Callable[[bytes], object], line: bytes) -> bool:
    """Return whether the line costs no more than any other."""
    return 0 < steps(decode, line) < MOST_STEPS and memory(decode, line) < MOST_MEMORY


@each_row("line", BAD, ids=lambda line: repr(line[:40]))
@each_row("decode", [decode_client, decode_node])
def test_a_line_that_is_no_frame_is_refused_with_one_exception_and_cheaply(
    decode: Callable[[bytes], object], line: bytes
) -> None:
    with pytest.raises(BadFrame) as caught:
        decode(line)
    assert is_cheap(decode, line)
    assert caught.value.code is Code.BAD_FRAME
    assert 0 < len(caught.value.message) <= SHORT


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"ping","x":' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"x":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b',"type":"ping"}',
    ],
    ids=lambda line: repr(line[:40]),
)
def test_a_bomb_where_nobody_looks_is_refused_or_skipped(line: bytes) -> None:
    """The depth limit of a parser depends on the Python (3.14 uses the remaining stack)."""
    try:
        assert decode_client(line) == ClientPing()
    except BadFrame as bad:
        assert bad.message == "nested too deeply"
    assert is_cheap(decode_client, line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"hello","v":2,"name":"alice"}',
        b'{"type":"hello","v":0,"name":"alice"}',
        b'{"type":"hello","v":-1,"name":"alice"}',
        b'{"type":"hello","v":2,"who":{"name":"alice"}}',  # another version may have other fields
    ],
)
def test_a_hello_of_another_version_is_told_so(line: bytes) -> None:
    with pytest.raises(BadFrame) as caught:
        decode_client(line)
    assert caught.value.code is Code.BAD_VERSION


def test_only_a_hello_has_a_version() -> None:
    assert decode_client(b'{"type":"ping","v":2}') == ClientPing()
    with pytest.raises(BadFrame) as caught:
        decode_client(b'{"type":"nonsense","v":2}')
    assert caught.value.code is Code.BAD_FRAME


@each_row(
    ("line", "id", "name"),
    [
        (b'{"type":"msg","id":7}', 7, None),
        (b'{"type":"nonsense","id":7,"name":"bob"}', 7, "bob"),
        (b'{"type":"msg","id":-7,"text":"a"}', -7, None),
        (b'{"type":"msg","id":7,"text":"\xff"}', 7, None),
        (b'{"type":"to","name":5,"id":7}', 7, None),
        (b'{"type":"msg","id":"7"}', None, None),
        (b'{"type":"msg","id":9007199254740992}', None, None),
        (b'{"type":"msg","id":7,"name":"\xff"}', 7, None),
        (b'{"type":"nonsense","name":""}', None, ""),
        (b'{"type":"nonsense","name":"' + b"a" * 60000 + b'"}', None, "a" * 60000),
        (b'{"type":"msg","id":7,"text":', None, None),
        (b'[{"id":7}]', None, None),
        (b'{"type":"msg","id":7,"text":"\\ud83d"}', 7, None),
        (b'{"type":"msg","text":"\\uD83Dx\\uDC00","id":7,"chat":"c"}', 7, None),
        (b'{"type":"to","name":"bob\\ud83d","id":7}', 7, "bob\ufffd"),
        (b'{"type":"msg","id":7,"text":"\\ud83d', None, None),
    ],
)
def test_a_refusal_says_which_frame_it_is_about(line: bytes, id: int | None, name: str | None) -> None:
    with pytest.raises(BadFrame) as caught:
        decode_client(line)
    assert (caught.value.about.id, caught.value.about.name) == (id, name)


@pytest.mark.parametrize("text", [b"\\ud83d", b"\\udc00", b"a\\uD83d\\ud83d"])
def test_half_a_character_is_called_so(text: bytes) -> None:
    """A text that is cut in two looks like this in languages with UTF-16 strings."""
    with pytest.raises(BadFrame, match=r"^half of a surrogate pair$"):
        decode_client(b'{"type":"msg","id":7,"text":"%b"}' % text)


def test_a_refusal_does_not_quote_a_type_that_it_does_not_know() -> None:
    with pytest.raises(BadFrame, match=r"^unknown frame type$"):
        decode_client(b'{"type":"my secret"}')


@given(st.text())
def test_any_text_arrives_as_it_was(text: str) -> None:
    frame = NodeMsg(1, "bob", "c", text, 0.5)
    assert decode_node(encode(frame)) == frame
