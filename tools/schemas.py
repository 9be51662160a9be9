"""Write the JSON Schemas of the frames in docs/ (`make schemas`), one for each direction, from the types of the frames.

Types, bounds and optional fields are those that msgspec decodes by. `BOUNDS` has the bounds that a node checks after
decoding. `tests/docs/test_schemas.py` compares the schemas with the frames that a node and a client accept.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args

from msgspec import NODEFAULT
from msgspec.json import schema_components
from msgspec.structs import fields

from relay.names import parse
from relay.protocol import json_frames
from relay.server.auth import TOKEN_CHARACTERS
from tools.source import remarks

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
CLIENT: Final = DOCS / "client-frames.schema.json"
NODE: Final = DOCS / "node-frames.schema.json"

# Bounds that a node checks after decoding a client's frame. A schema can't express the other rules for names.
BOUNDS: Final[dict[str, dict[str, int]]] = {
    "name": {"minLength": 1, "maxLength": parse.MAX_TYPED},
    "auth": {"maxLength": TOKEN_CHARACTERS},
}
_NULL: Final = {"type": "null"}

Schema = dict[str, Any]


def schemas() -> dict[Path, str]:
    """Return the files and their texts."""
    client = _document(
        json_frames.ClientFrame,
        "Frames that a client of pair-relay sends",
        "Each frame is one JSON object on one line. A node ignores fields that are not listed here. An integer is "
        "written without fraction and exponent. docs/protocol.md says what each frame means.",
    )
    for frame in client["$defs"].values():
        for field, bounds in BOUNDS.items():
            if field in frame["properties"]:
                _bound(frame["properties"][field], bounds)
    node = _document(
        json_frames.NodeFrame,
        "Frames that a node of pair-relay sends",
        "Each frame is one JSON object on one line. Later versions may add fields, types of frames, codes, reasons "
        "and states: a client ignores what it does not know. docs/protocol.md says what each frame means.",
    )
    for frame in node["$defs"].values():
        for field in frame["properties"].values():
            _without_null(field)
    return {CLIENT: _written(client), NODE: _written(node)}


def _document(union: Any, title: str, description: str) -> Schema:
    """Return a schema that every frame of the union satisfies."""
    kinds = get_args(union)
    _, found = schema_components(kinds, ref_template="#/$defs/{name}")
    frames_by_name = {kind.__name__: _frame(kind, found[kind.__name__]) for kind in kinds}
    return {
        "$schema": DIALECT,
        "title": title,
        "description": description,
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in frames_by_name],
        "$defs": frames_by_name,
    }


def _frame(kind: type[Any], made: Schema) -> Schema:
    """Return msgspec's schema of one frame type, with the comments in its source as descriptions of the fields."""
    said = remarks(kind)
    written = {field.encode_name: field for field in fields(kind)}
    for name, schema in made["properties"].items():
        if len(schema.get("enum", ())) == 1:
            schema["const"] = schema.pop("enum")[0]
        if schema.get("default", 0) is None:  # null means the same as leaving the field out
            del schema["default"]
        if name in written and (remark := said.get(written[name].name)):
            schema["description"] = remark
        if name in written and written[name].default_factory is not NODEFAULT:
            schema["default"] = written[name].default_factory()
    return made


def _bound(schema: Schema, bounds: Mapping[str, int]) -> None:
    """Add bounds to the schema of a text, which may also be null."""
    for part in schema.get("anyOf", [schema]):
        if part != _NULL:
            part.update(bounds)


def _without_null(schema: Schema) -> None:
    """Remove null from a schema, because a node leaves out a field without a value."""
    parts = [part for part in schema.get("anyOf", ()) if part != _NULL]
    if len(parts) == 1:
        del schema["anyOf"]
        schema.update(parts[0])
    elif parts:
        schema["anyOf"] = parts


def _written(document: Schema) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    for file, text in schemas().items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
