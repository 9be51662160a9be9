"""The JSON dialect: frames to commands, events to frames, and the place of `hello`."""

from json import dumps
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.protocol.commands_and_events import (
    AcceptCall,
    Acked,
    Acknowledge,
    Away,
    Back,
    Block,
    Blocked,
    Bye,
    Call,
    Cancel,
    Claim,
    Command,
    DeclineCall,
    Event,
    Invited,
    Known,
    Leave,
    Left,
    Malformed,
    Messages,
    Missed,
    Moving,
    NotifyTyping,
    Paired,
    PartnerTyping,
    Ping,
    Pong,
    Quit,
    Refused,
    Replaced,
    Resume,
    Rings,
    Say,
    Unblock,
    Unconfirmed,
    Welcome,
    Who,
)
from relay.protocol.dialects import JSON, TEXT, LineFramer, TooLong, choose
from relay.protocol.dialects.json import COMMANDS
from relay.protocol.errors import Code, Presence, Reason
from relay.protocol.frame_errors import MAX_REF, About, Ref
from relay.protocol.json_frames import MAX_ID, ClientFrame
from relay.session.command_handlers import COMMANDS as HANDLED
from tests.support.rows import each_row


@each_row(
    ("line", "command"),
    [
        (b'{"type":"hello","v":1,"name":"alice"}', Claim("alice")),
        (b'{"type":"hello","name":"alice","acks":true}', Claim("alice", acks=True)),
        (b'{"type":"hello","name":"alice","ask":true}', Claim("alice", ask=True)),
        (b'{"type":"hello","name":"alice","token":"t","ask":true}', Claim("alice", False, Resume("t"), True)),
        (b'{"type":"hello","name":"alice","token":"t"}', Claim("alice", resume=Resume("t"))),
        (
            b'{"type":"hello","name":"alice","acks":true,"token":"t","chat":"c","sent":7,"last":9}',
            Claim("alice", True, Resume("t", "c", 7, 9)),
        ),
        (
            b'{"type":"hello","name":"alice","token":"t","left":"b"}',
            Claim("alice", resume=Resume("t", left="b")),
        ),
        (b'{"type":"hello","name":"alice","chat":"c","sent":7}', Claim("alice")),
    ],
)
def test_hello_claims_a_name(line: bytes, command: Command) -> None:
    assert JSON.parse(line, named=False) == command


FRAMES: list[tuple[bytes, Command]] = [
    (b'{"type":"to","name":"bob"}', Call("bob")),
    (b'{"type":"to","name":"bob","ref":"r1"}', Call("bob", "r1")),
    (b'{"type":"to","name":"bob","ref":-7}', Call("bob", -7)),
    (b'{"type":"to","name":"bob","ref":null}', Call("bob")),
    (b'{"type":"leave","chat":"c","ref":1}', Leave("c", 1)),
    (b'{"type":"who","name":"bob","ref":1}', Who("bob", 1)),
    (b'{"type":"cancel","ref":1}', Cancel(1)),
    (b'{"type":"accept","chat":"c","ref":1}', AcceptCall("c", 1)),
    (b'{"type":"decline","ref":1}', DeclineCall(None, 1)),
    (b'{"type":"block","name":"bob","ref":1}', Block("bob", 1)),
    (b'{"type":"unblock","name":"bob","ref":1}', Unblock("bob", 1)),
    (b'{"type":"quit","now":true}', Quit(True)),
    (b'{"type":"msg","id":1,"text":"hi"}', Say("hi", 1)),
    (b'{"type":"msg","id":1,"text":"To:bob","chat":"c"}', Say("To:bob", 1, "c")),
    (b'{"type":"ack","id":17}', Acknowledge(17)),
    (b'{"type":"ack","id":17,"chat":"c"}', Acknowledge(17, "c")),
    (b'{"type":"leave"}', Leave()),
    (b'{"type":"who","name":"bob"}', Who("bob")),
    (b'{"type":"cancel"}', Cancel()),
    (b'{"type":"accept"}', AcceptCall()),
    (b'{"type":"accept","chat":"c"}', AcceptCall("c")),
    (b'{"type":"decline","chat":"c"}', DeclineCall("c")),
    (b'{"type":"block","name":"bob"}', Block("bob")),
    (b'{"type":"unblock","name":"bob"}', Unblock("bob")),
    (b'{"type":"typing"}', NotifyTyping()),
    (b'{"type":"typing","chat":"c"}', NotifyTyping("c")),
    (b'{"type":"ping"}', Ping()),
    (b'{"type":"quit"}', Quit()),
]


@each_row(("line", "command"), FRAMES)
def test_after_hello_every_frame_is_its_command(line: bytes, command: Command) -> None:
    assert JSON.parse(line, named=True) == command


@each_row(("line", "command"), FRAMES)
def test_nothing_may_come_before_hello(line: bytes, command: Command) -> None:
    about = About(*(getattr(command, key, None) for key in ("id", "name", "ref")))
    assert JSON.parse(line, named=False) == Malformed(Code.BAD_FRAME, "nothing may come before hello", about)


@each_row("ref", ["1.5", "true", "[]", "{}", '"' + "r" * (MAX_REF + 1) + '"', str(MAX_ID + 1)])
def test_a_ref_is_a_short_string_or_an_integer(ref: str) -> None:
    command = JSON.parse(b'{"type":"who","name":"bob","ref":%s}' % ref.encode(), named=True)
    assert isinstance(command, Malformed)
    assert (command.code, command.about) == (Code.BAD_FRAME, About(name="bob"))


@each_row("ref", ["r" * MAX_REF, "ü" * MAX_REF, MAX_ID, -MAX_ID, 0, ""])
def test_a_refusal_echoes_the_ref(ref: Ref) -> None:
    command = JSON.parse(dumps({"type": "who", "ref": ref}).encode(), named=True)
    assert isinstance(command, Malformed)
    assert command.about.ref == ref


@each_row(
    ("start", "id", "name", "ref"),
    [
        (b'{"type":"msg","id":7,"text":"xxx', 7, None, None),
        (b' { "id" : 7 , "type" : "msg" , "text" : "xxx', 7, None, None),
        (b'{"chat":"c\\"","x":{"id":1,"y":[[]]},"id":7,"text":"\xc3', 7, None, None),
        (b'{"type":"who","ref":"r","name":"xxx', None, None, "r"),
        (b'{"type":"hello","name":"bob","auth":"xxx', None, "bob", None),
        (b'{"type":"msg","text":"\\"id\\":7,\\"', None, None, None),
        (b'{"type":"msg","text":"","id":7', None, None, None),  # it may continue: 70
        (b'{"type":"msg","id":7.5,"text":"x', None, None, None),
        (b'{"type":"msg","id":7,', 7, None, None),
        (b'{"id":7}{"id":8}', 7, None, None),
        (b'{"id":7,"id"', 7, None, None),
        (b'{"id":7,"name":' + b"[" * 500, 7, None, None),
        (b'{"id":7,"x":' + b"9" * 490, 7, None, None),
        (b'["id":7,', None, None, None),
        (b"{", None, None, None),
        (b"", None, None, None),
        (b"xxx", None, None, None),
    ],
)
def test_a_line_that_is_too_long_says_at_its_beginning_what_it_is(
    start: bytes, id: int | None, name: str | None, ref: Ref | None
) -> None:
    refusal = JSON.too_long(TooLong(1000, start))
    assert refusal == Malformed(Code.TOO_LONG, "line too long: at most 1000 bytes", About(id, name, ref))


@given(st.binary(max_size=40) | st.text(alphabet='{}[]":,id7 \\').map(str.encode))
def test_whatever_a_line_begins_with_it_is_refused_as_too_long(start: bytes) -> None:
    assert JSON.too_long(TooLong(1000, start)).code is Code.TOO_LONG


@pytest.mark.parametrize("version", [b"1", b"2"])
def test_a_second_hello_is_out_of_place_whatever_its_version(version: bytes) -> None:
    command = JSON.parse(b'{"type":"hello","v":%s,"name":"alice"}' % version, named=True)
    assert isinstance(command, Malformed)
    assert (command.code, command.about) == (Code.BAD_FRAME, About(name="alice"))


@each_row("named", [True, False])
@each_row(
    ("line", "id", "name"),
    [
        (b"", None, None),
        (b"[]", None, None),
        (b'{"type":"msg","id":7,"text":""}', 7, None),
        (b'{"type":"call","name":"bob"}', None, "bob"),
        (b'{"type":"msg","id":7,"text":"\xff"}', 7, None),
    ],
)
def test_a_malformed_frame_is_refused_with_what_it_is_about(
    line: bytes, id: int | None, name: str | None, named: bool
) -> None:
    command = JSON.parse(line, named)
    assert isinstance(command, Malformed)
    assert (command.code, command.about) == (Code.BAD_FRAME, About(id, name))


def test_another_version_is_refused_as_such() -> None:
    command = JSON.parse(b'{"type":"hello","v":2,"name":"alice"}', named=False)
    assert isinstance(command, Malformed)
    assert (command.code, command.about) == (Code.BAD_VERSION, About(name="alice"))


TOLD: list[tuple[Event, bytes]] = [
    (
        Welcome("alice", "t", False, 30.0, 256, 1048576, 2.5, "n1", 65536),
        b'{"type":"welcome","v":1,"name":"alice","token":"t","resumed":false,"grace":30,"window":256,'
        b'"window_bytes":1048576,"ping":2.5,"node":"n1","max_line":65536}',
    ),
    (
        Paired("bob", "c", "client", caller=False),
        b'{"type":"paired","name":"bob","chat":"c","acks":"client","resumed":false}',
    ),
    (
        Paired("bob", "c", "node", resumed=True, last=0),
        b'{"type":"paired","name":"bob","chat":"c","acks":"node","resumed":true,"last":0}',
    ),
    (
        Messages(1, "bob", "c", ["hi\n\x1b"], 1795404840.123),
        b'{"type":"msg","id":1,"from":"bob","chat":"c","text":"hi\\n\\u001b","at":1795404840.123}',
    ),
    (
        Paired("bob", "c", "node", resumed=True, last=5, at=1795404840.123),
        b'{"type":"paired","name":"bob","chat":"c","acks":"node","resumed":true,"last":5,"at":1795404840.123}',
    ),
    (
        Paired("bob", "c", "node", ref="r1"),
        b'{"type":"paired","name":"bob","chat":"c","acks":"node","resumed":false,"ref":"r1"}',
    ),
    (Acked(17, "c"), b'{"type":"ack","id":17,"chat":"c"}'),
    (Acked(17, "c", 1795404840.123), b'{"type":"ack","id":17,"chat":"c","at":1795404840.123}'),
    (Unconfirmed(18, 20, Reason.LOST, ("x",)), b'{"type":"unconfirmed","from":18,"to":20,"reason":"lost"}'),
    (
        Unconfirmed(18, 20, Reason.LOST, ("x",), "c"),
        b'{"type":"unconfirmed","from":18,"to":20,"reason":"lost","chat":"c"}',
    ),
    (Away("bob", 30.0, "c"), b'{"type":"away","name":"bob","grace":30,"chat":"c"}'),
    (Back("bob", "c"), b'{"type":"back","name":"bob","chat":"c"}'),
    (Left("bob", Reason.QUIT, "c"), b'{"type":"left","name":"bob","reason":"quit","chat":"c"}'),
    (
        Left("bob", Reason.LEFT, "c", own=True, ref=7),
        b'{"type":"left","name":"bob","reason":"left","chat":"c","ref":7}',
    ),
    (Known("bob", Presence.FREE), b'{"type":"presence","name":"bob","state":"free"}'),
    (Invited("bob", "c1", 30.0), b'{"type":"invited","name":"bob","chat":"c1","wait":30}'),
    (Known("bob", Presence.FREE, "r"), b'{"type":"presence","name":"bob","state":"free","ref":"r"}'),
    (Missed("bob", "c1", 0), b'{"type":"missed","name":"bob","chat":"c1","ref":0}'),
    (Missed("bob", "c1"), b'{"type":"missed","name":"bob","chat":"c1"}'),
    (Rings("bob", 30.0, "c"), b'{"type":"ringing","name":"bob","wait":30,"chat":"c"}'),
    (Rings("bob", 30.0, "c", ""), b'{"type":"ringing","name":"bob","wait":30,"chat":"c","ref":""}'),
    (Blocked("bob", True), b'{"type":"blocked","name":"bob"}'),
    (Blocked("bob", True, 1), b'{"type":"blocked","name":"bob","ref":1}'),
    (Blocked("bob", False, 1), b'{"type":"unblocked","name":"bob","ref":1}'),
    (Blocked("bob", False), b'{"type":"unblocked","name":"bob"}'),
    (PartnerTyping("bob", "c1"), b'{"type":"typing","name":"bob","chat":"c1"}'),
    (Moving(), b'{"type":"moving"}'),
    (Replaced(), b'{"type":"replaced"}'),
    (Refused(Code.NAME_TAKEN, "m"), b'{"type":"error","code":"name_taken","message":"m"}'),
    (Refused(Code.BUSY, "m", name="bob"), b'{"type":"error","code":"busy","message":"m","name":"bob"}'),
    (
        Refused(Code.BUSY, "m", name="bob", ref=7),
        b'{"type":"error","code":"busy","message":"m","name":"bob","ref":7}',
    ),
    (
        Refused(Code.BAD_ORDER, "m", id=9, expected=7),
        b'{"type":"error","code":"bad_order","message":"m","id":9,"expected":7}',
    ),
    (Refused(Code.BAD_VERSION, "m"), b'{"type":"error","code":"bad_version","message":"m","supported":[1]}'),
    (
        Refused(Code.NAME_INVALID, "m", name="b" * 60000),
        b'{"type":"error","code":"name_invalid","message":"m","name":"' + b"b" * 60000 + b'"}',
    ),
    (Pong(), b'{"type":"pong"}'),
    (Bye(), b'{"type":"bye"}'),
]


@each_row(("event", "line"), TOLD)
def test_an_event_is_told_as_the_protocol_shows_it(event: Event, line: bytes) -> None:
    assert JSON.render(event) == line + b"\n"


def test_escaping_makes_a_line_at_most_six_times_as_long() -> None:
    message = Messages(MAX_ID, "😀" * 32, "c" * 36, ["\x00" * 1000], 1795404840.123456)
    assert len(JSON.render(message)) <= 6 * 1000 + 512


def test_every_frame_has_its_command_and_every_command_is_handled() -> None:
    assert set(COMMANDS) == set(get_args(ClientFrame))
    assert set(HANDLED) == set(get_args(Command))


def test_every_event_has_its_frame() -> None:
    assert {type(event) for event, _ in TOLD} == set(get_args(Event))


def test_a_brace_chooses_json_and_anything_else_text() -> None:
    assert choose(b"{") is choose(b'{"type":"hello"}\n') is JSON
    assert choose(b"alice\n") is choose(b"\n") is choose(b" {") is TEXT


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
types = st.sampled_from(["hello", "to", "msg", "ack", "leave", "who", "ping", "quit", "nonsense"])


@given(st.lists(st.binary(max_size=40)), st.booleans())
def test_whatever_a_client_sends_is_a_command(chunks: list[bytes], named: bool) -> None:
    framer = LineFramer(20)
    for line in [line for chunk in chunks for line in framer.feed(chunk)]:
        command = JSON.too_long(line) if isinstance(line, TooLong) else JSON.parse(line, named)
        assert isinstance(command, get_args(Command))


@given(
    types, st.dictionaries(st.sampled_from(["v", "id", "name", "text", "chat", "token", "x"]), values), st.booleans()
)
def test_whatever_a_frame_holds_is_a_command(type: str, fields: dict[str, object], named: bool) -> None:
    command = JSON.parse(dumps({"type": type, **fields}).encode(), named)
    assert isinstance(command, get_args(Command))
