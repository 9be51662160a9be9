"""Errors for lines that aren't valid frames: the explanation, and the keys that can still be read."""

import json
import re
from typing import Annotated, Final, TypeVar

from msgspec import DecodeError, Meta, Raw, Struct
from msgspec.json import Decoder

from relay.protocol.errors import Code

VERSION: Final = 1
SUPPORTED: Final = (VERSION,)

# Every JSON parser, JavaScript's included, represents integers up to this one exactly (RFC 8259, section 6).
MAX_ID: Final = 2**53 - 1

# The longest `ref` of a request, in characters. A UUID or a trace id fits well.
MAX_REF: Final = 128

Ref = Annotated[str, Meta(max_length=MAX_REF)] | Annotated[int, Meta(ge=-MAX_ID, le=MAX_ID)]

# All exceptions that msgspec was seen to raise for hostile lines. It raises RecursionError for 100,000 brackets.
REFUSALS: Final = (DecodeError, UnicodeDecodeError, RecursionError)

T = TypeVar("T")


class About(Struct, frozen=True):
    """The keys of a line that an error echoes. Each is None if it was missing or couldn't be read."""

    id: int | None = None
    name: str | None = None
    ref: Ref | None = None


NOTHING: Final = About()


class BadFrame(Exception):
    """The line isn't a frame of this protocol.

    `code` is `bad_version` for a `hello` of another version, otherwise `bad_frame`. `message` is a short sentence for a
    person, which quotes nothing of the line. `about` has the keys that identify the line.
    """

    def __init__(self, message: str, code: Code = Code.BAD_FRAME, about: About = NOTHING) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.about = about


class _Hints(Struct):
    """The keys that errors use, left undecoded, because any of them may be the invalid one."""

    type: Raw = Raw()
    v: Raw = Raw()
    id: Raw = Raw()
    name: Raw = Raw()
    ref: Raw = Raw()


_HINTS: Final = Decoder(_Hints)
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_STR: Final = Decoder(str)
_INT: Final = Decoder(Annotated[int, Meta(ge=-MAX_ID, le=MAX_ID)])
_REF: Final[Decoder[Ref]] = Decoder(Ref)
_PYTHON: Final = json.JSONDecoder()
_SPACE: Final = re.compile(r"[ \t\r\n]*")


def bad_frame(line: bytes, error: Exception) -> BadFrame:
    """Return the error for a line whose decoding raised this exception."""
    hints, explanation = _read(_HINTS, line), _explain(error)
    if hints is None and _SURROGATE.search(line):
        hints = _read(_HINTS, _SURROGATE.sub(rb"\\ufffd", line))
        explanation = "half of a surrogate pair" if hints is not None else explanation
    if hints is None:  # a flood of such lines has to cost little
        return BadFrame(explanation)
    about = _about(hints)
    if _read(_STR, hints.type) == "hello" and _read(_INT, hints.v) not in (None, VERSION):
        return BadFrame("this version of the protocol is not spoken here", Code.BAD_VERSION, about)
    return BadFrame(explanation, Code.BAD_FRAME, about)


def about_beginning(start: bytes) -> About:
    """Return the keys that an error echoes of a truncated line, from the complete keys and values in its beginning."""
    text = start.decode(errors="replace")
    found: dict[str, Raw] = {}
    at, last = _SPACE.match(text).end(), "{"  # type: ignore[union-attr]
    while text[at : at + 1] == last and (key := _value(text, at + 1)) and text[key.end : key.end + 1] == ":":
        value = _value(text, key.end + 1)
        if value is None or text[value.end : value.end + 1] not in (",", "}") or not value.end < len(text):
            break  # the value may be truncated
        found[str(key.value)] = Raw(json.dumps(value.value).encode())
        at, last = value.end, ","
    return _about(_Hints(**{key: found[key] for key in ("id", "name", "ref") if key in found}))


class _Found(Struct, frozen=True):
    """A JSON value in a text, and the offset of what follows it."""

    value: object
    end: int


def _value(text: str, at: int) -> _Found | None:
    """Return the JSON value that begins at this offset, after white space, or None if there is none."""
    try:
        value, end = _PYTHON.raw_decode(text, _SPACE.match(text, at).end())  # type: ignore[union-attr]
    except (ValueError, RecursionError):
        return None
    return _Found(value, _SPACE.match(text, end).end())  # type: ignore[union-attr]


def _about(hints: _Hints) -> About:
    return About(_read(_INT, hints.id), _read(_STR, hints.name), _read(_REF, hints.ref))


def _read(decoder: Decoder[T], data: bytes | Raw) -> T | None:
    try:
        return decoder.decode(data)
    except REFUSALS:
        return None


def _explain(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not valid UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    explanation = str(error)
    if explanation.endswith("`$.type`"):  # msgspec's message would quote the peer's data
        return "unknown frame type"
    return explanation
