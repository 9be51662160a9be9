"""The JSON dialect: malformed frames, frames out of place, and frames that are too long."""

import json
from typing import Any

import pytest

from tests.support.clients import JsonClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.rows import each_row

MAX_LINE = 65536  # bytes, the default of --max-line

MALFORMED = {
    "not JSON": "{nonsense",
    "cut off": '{"type":"ping"',
    "something behind": '{"type":"ping"} {"type":"ping"}',
    "empty object": "{}",
    "no type": '{"id":1}',
    "type is null": '{"type":null}',
    "type is a number": '{"type":1}',
    "type is an object": '{"type":{"type":"ping"}}',
    "unknown type": '{"type":"dance"}',
    "a node's type": '{"type":"welcome","v":1,"name":"alice"}',
    "array": '[{"type":"ping"}]',
    "array of fields": '["ping"]',
    "string": '"ping"',
    "number": "7",
    "null": "null",
    "NaN": "NaN",
    "NaN as id": '{"type":"msg","id":NaN,"text":"hi"}',
    "infinite id": '{"type":"msg","id":Infinity,"text":"hi"}',
    "fractional id": '{"type":"msg","id":1.5,"text":"hi"}',
    "id is a string": '{"type":"msg","id":"1","text":"hi"}',
    "id is a boolean": '{"type":"msg","id":true,"text":"hi"}',
    "id is null": '{"type":"msg","id":null,"text":"hi"}',
    "no id": '{"type":"msg","text":"hi"}',
    "no text": '{"type":"msg","id":1}',
    "text is a number": '{"type":"msg","id":1,"text":5}',
    "text is empty": '{"type":"msg","id":1,"text":""}',
    "text is an array": '{"type":"msg","id":1,"text":["hi"]}',
    "chat is a number": '{"type":"msg","id":1,"text":"hi","chat":5}',
    "name is a number": '{"type":"to","name":5}',
    "no name": '{"type":"to"}',
    "who without name": '{"type":"who"}',
    "lone surrogate": '{"type":"msg","id":1,"text":"\\ud800"}',
    "5,000-digit id": '{"type":"msg","id":' + 5000 * "9" + ',"text":"hi"}',
    "5,000-digit exponent": '{"type":"msg","id":1e' + 5000 * "9" + ',"text":"hi"}',
    "5,000-digit unknown field": '{"type":"dance","n":' + 5000 * "9" + "}",
    "depth bomb, open": 60_000 * "[",
    "depth bomb, closed": 30_000 * "[" + 30_000 * "]",
    "depth bomb of objects": 1_600 * '{"a":' + "1" + 1_600 * "}",  # nearly the longest line before a name
}


@pytest.fixture
def alice(guests: Guests, node: Node) -> JsonClient:
    return guests.json(node, "alice")


@each_row("line", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_frame_is_refused_and_the_connection_stays_usable(alice: JsonClient, line: str) -> None:
    alice.send_line(line)
    alice.expect_error("bad_frame")
    alice.expect_nothing_so_far()


def test_malformed_first_frames_are_refused_and_hello_may_follow(guests: Guests, node: Node) -> None:
    client = guests.json(node)
    for line in MALFORMED.values():
        if line[0] == "{":
            client.send_line(line)
            client.expect_error("bad_frame")
    client.hello("alice")


def test_a_depth_bomb_in_an_unknown_field_is_ignored_or_refused(alice: JsonClient) -> None:
    alice.send_line('{"type":"leave","x":' + 30_000 * "[" + 30_000 * "]" + "}")
    assert alice.expect("error")["code"] in ("not_paired", "bad_frame")
    alice.expect_nothing_so_far()


def test_invalid_utf8_is_a_malformed_frame(alice: JsonClient) -> None:
    alice.send_bytes(b'{"type":"msg","id":1,"text":"caf\xe9"}\n')
    alice.expect_error("bad_frame")
    alice.expect_nothing_so_far()


def test_frames_before_hello_are_refused_and_hello_may_follow(guests: Guests, node: Node) -> None:
    client = guests.json(node)
    for frame in (
        {"type": "to", "name": "bob"},
        {"type": "msg", "id": 1, "text": "hi"},
        {"type": "ack", "id": 1},
        {"type": "leave"},
        {"type": "who", "name": "bob"},
        {"type": "ping"},
    ):
        client.send_line(json.dumps(frame))
        client.expect_error("bad_frame", **{key: value for key, value in frame.items() if key in ("id", "name")})
    client.hello("alice")


@pytest.mark.parametrize("name", ["alice", "carol"])
def test_a_second_hello_is_refused_and_the_name_stays(alice: JsonClient, name: str) -> None:
    alice.send("hello", name=name)
    alice.expect_error("bad_frame", name=name)
    assert alice.who("alice") == "free"
    assert alice.who("carol") == "offline"


@pytest.mark.parametrize(
    ("line", "echo"),
    [
        ('{"type":"msg","id":7,"text":5}', {"id": 7}),
        ('{"type":"msg","id":7,"text":""}', {"id": 7}),
        ('{"type":"dance","id":7}', {"id": 7}),
        ('{"type":"dance","name":"bob"}', {"name": "bob"}),
        ('{"type":"msg","text":"hi","id":9}', {"code": "not_paired", "id": 9}),
    ],
)
def test_an_error_echoes_the_id_or_the_name(alice: JsonClient, line: str, echo: dict[str, Any]) -> None:
    alice.send_line(line)
    alice.expect("error", **echo)


@pytest.mark.parametrize("where", ["before hello", "after hello"])
def test_a_frame_too_long_is_refused_and_the_connection_stays_usable(guests: Guests, node: Node, where: str) -> None:
    client = guests.json(node)
    if where == "after hello":
        client.hello("alice")
    client.send("msg", id=1, text=MAX_LINE * "x")
    client.expect_error("too_long")
    if where == "before hello":
        client.hello("alice")
    client.expect_nothing_so_far()


def test_a_frame_of_the_greatest_length_arrives(guests: Guests, alice: JsonClient, node: Node) -> None:
    bob = guests.json(node, "bob")
    alice.call("bob")
    bob.expect("paired")
    frame = {"type": "msg", "id": 1, "text": ""}
    text = (MAX_LINE - len(json.dumps(frame))) * "x"
    alice.send_line(json.dumps(frame | {"text": text}))
    bob.expect("msg", text=text)


def test_a_text_line_can_not_begin_json_later_on(guests: Guests, node: Node) -> None:
    text = guests.text(node, "bob")
    text.send('{"type":"ping"}')
    assert "chating" in text.line(), "the first line picked the dialect, so this is text to nobody"
