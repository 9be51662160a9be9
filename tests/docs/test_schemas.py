"""The JSON Schemas in docs/ are up to date, and agree with the frames that a node and a client accept."""

import json
from collections.abc import Callable, Iterator, Set
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from relay.names import parse
from relay.protocol.json_frames import MAX_ID, MAX_REF, BadFrame, decode_client, decode_node
from relay.server.auth import TOKEN_CHARACTERS
from tests.relay.protocol.test_json_frames import CLIENT, NODE
from tests.support.rows import each_row
from tools import schemas

# Values that replace a field's own value: each type, and both sides of each bound.
STRANGE: list[Any] = [
    *(True, 0, -1, 1, 2, MAX_ID, MAX_ID + 1, -MAX_ID, -MAX_ID - 1, 1.5, "", "x", [], [1], ["x"], {}),
    *("r" * MAX_REF, "r" * (MAX_REF + 1)),
]


def validator(of_client: bool) -> Draft202012Validator:
    file = schemas.CLIENT if of_client else schemas.NODE
    return Draft202012Validator(json.loads(file.read_text(encoding="utf-8")))


def fits(line: bytes | str, of_client: bool = True) -> bool:
    return bool(validator(of_client).is_valid(json.loads(line)))


def is_read(decode: Callable[[bytes], object], frame: dict[str, Any]) -> bool:
    try:
        decode(json.dumps(frame).encode())
    except BadFrame:
        return False
    return True


def altered(frame: dict[str, Any], fields: Set[str]) -> Iterator[dict[str, Any]]:
    """Yield the frame without each of its fields, and with each field replaced by each of the values above."""
    for name in frame:
        yield {key: value for key, value in frame.items() if key != name}
    for name in sorted(fields):
        for value in STRANGE:
            yield {**frame, name: value}


def validator_of_type(of_client: bool, name: str) -> Draft202012Validator:
    """Return the validator of one type of frame. It is faster than the validator of all types."""
    kinds = validator(of_client).schema["$defs"].values()
    [kind] = [kind for kind in kinds if kind["properties"]["type"] == {"const": name}]
    return Draft202012Validator(kind)


@pytest.mark.parametrize("file", schemas.schemas(), ids=lambda file: file.name)
def test_each_file_is_up_to_date(file: Any) -> None:
    assert file.read_text(encoding="utf-8") == schemas.schemas()[file], "run `make schemas`"


@pytest.mark.parametrize("of_client", [True, False])
def test_each_is_a_schema(of_client: bool) -> None:
    Draft202012Validator.check_schema(validator(of_client).schema)


@each_row("line", [line for _, line in CLIENT])
def test_each_frame_of_a_client_is_valid(line: bytes) -> None:
    assert fits(line)


@each_row("line", [line for _, line in NODE])
def test_each_frame_of_a_node_is_valid(line: bytes) -> None:
    assert fits(line, of_client=False)


@each_row(
    "line",
    [
        "[]",
        "{}",
        '{"type":"hello"}',
        '{"type":"hello","v":2,"name":"alice"}',
        '{"type":"hello","name":""}',
        '{"type":"hello","name":"alice","acks":null}',
        '{"type":"hello","name":"alice","sent":-1}',
        '{"type":"to","name":7}',
        '{"type":"to","name":"bob","ref":1.5}',
        '{"type":"msg","id":0,"text":"hi"}',
        '{"type":"msg","id":9007199254740992,"text":"hi"}',
        '{"type":"msg","id":1,"text":""}',
        '{"type":"ack"}',
        '{"type":"shout","text":"hi"}',
        '{"type":"welcome","v":1,"name":"alice"}',
    ],
)
def test_a_line_that_is_no_frame_of_a_client_is_not_valid(line: str) -> None:
    assert not fits(line)


@each_row(
    "line",
    [
        '{"type":"hello","v":1,"name":"alice"}',
        '{"type":"msg","id":1,"from":"bob","chat":"c","text":"hi"}',
        '{"type":"ack","id":"1","chat":"c"}',
        '{"type":"ack","id":1,"chat":"c","at":null}',
        '{"type":"paired","name":"bob","chat":"c","acks":true,"resumed":false}',
        '{"type":"error","code":"bad_version","message":"m","supported":["1"]}',
    ],
)
def test_a_line_that_is_no_frame_of_a_node_is_not_valid(line: str) -> None:
    assert not fits(line, of_client=False)


@pytest.mark.parametrize("line", ['{"type":"ping","sequence":7}', '{"type":"leave","chat":null}'])
def test_unknown_fields_and_null_for_an_optional_field_are_valid(line: str) -> None:
    assert fits(line)


@each_row("line", [line for _, line in CLIENT])
def test_a_node_reads_exactly_what_is_valid(line: bytes) -> None:
    """A name and a proof are checked after the frame was read, so their bounds have separate tests."""
    frame = json.loads(line)
    check = validator_of_type(True, frame["type"])
    for other in altered(frame, check.schema["properties"].keys() - schemas.BOUNDS.keys()):
        assert check.is_valid(other) == is_read(decode_client, other), other


@each_row("line", [line for _, line in NODE])
def test_a_client_reads_exactly_what_is_valid(line: bytes) -> None:
    frame = json.loads(line)
    check = validator_of_type(False, frame["type"])
    for other in altered(frame, check.schema["properties"].keys()):
        assert check.is_valid(other) == is_read(decode_node, other), other


@pytest.mark.parametrize("name", ["", "\u1100\u1161\u11a8" * 43])
def test_a_name_that_a_node_refuses_for_its_length_is_not_valid(name: str) -> None:
    with pytest.raises(parse.InvalidName, match=f"{parse.EMPTY}|{parse.TOO_LONG}"):
        parse.parse(name)
    assert not fits(json.dumps({"type": "to", "name": name}))


def test_a_name_of_letters_that_are_put_together_is_valid() -> None:
    name = "\u1100\u1161\u11a8" * parse.MAX_LENGTH
    assert parse.parse(name)
    assert fits(json.dumps({"type": "to", "name": name}))


@pytest.mark.parametrize("beyond", [0, 1])
def test_a_proof_is_as_long_as_the_longest_that_a_node_looks_at(beyond: int) -> None:
    hello = {"type": "hello", "name": "alice", "auth": "a" * (TOKEN_CHARACTERS + beyond)}
    assert fits(json.dumps(hello)) == (not beyond)
