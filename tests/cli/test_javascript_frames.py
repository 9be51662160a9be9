"""The JavaScript client knows the frames of the protocol: its shapes of them are those of the Python types."""

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec.inspect import BoolType, FloatType, IntType, StrType, StructType

from relay.protocol.json_frames import ClientFrame, NodeFrame

CORE = (Path(__file__).parents[2] / "clients" / "js" / "core.js").read_text(encoding="utf-8")
LETTERS: dict[type[Any], str] = {StrType: "s", IntType: "n", FloatType: "n", BoolType: "b"}


def struct(frame: type) -> StructType:
    info = msgspec.inspect.type_info(frame)
    assert isinstance(info, StructType)
    return info


def table(name: str) -> str:
    """The lines of an object that is a constant of the core."""
    found = re.search(rf"^const {name} = \{{\n(.*?)^\}};", CORE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def tags(frames: Any) -> set[str]:
    return {str(struct(frame).tag) for frame in get_args(frames)}


def test_each_frame_of_a_node_has_its_shape() -> None:
    """That of the fields that it always has. The version isn't looked at: there is one so far."""
    shapes = dict(re.findall(r'^  (\w+): "(.*)",$', table("SHAPES"), re.MULTILINE))
    expected = {
        struct(frame).tag: {
            f"{field.encode_name}:{LETTERS[type(field.type)]}"
            for field in struct(frame).fields
            if field.required and field.encode_name != "v"
        }
        for frame in get_args(NodeFrame)
    }
    assert {tag: set(shape.split()) for tag, shape in shapes.items()} == expected


def test_each_frame_of_a_node_has_its_handler() -> None:
    assert set(re.findall(r"^  (\w+)(?:\(|: )", table("HANDLERS"), re.MULTILINE)) == tags(NodeFrame)


def test_each_frame_of_a_client_is_written() -> None:
    assert tags(ClientFrame) <= set(re.findall(r'\btype: "(\w+)"', CORE))
