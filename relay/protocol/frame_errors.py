"""Lines that are no frames: what can still be read of them, and what is said about them."""

import json
import re
from typing import Annotated, Final, TypeVar

from msgspec import DecodeError, Meta, Raw, Struct
from msgspec.json import Decoder

from relay.protocol.errors import Code

VERSION: Final = 1
SUPPORTED: Final = (VERSION,)

# Every JSON parser keeps integers up to this one exactly, JavaScript's included (RFC 8259, section 6).
MAX_ID: Final = 2**53 - 1

# Characters of a client's own mark for a request: a UUID or a trace id, and some more.
MAX_REF: Final = 128

Ref = Annotated[str, Meta(max_length=MAX_REF)] | Annotated[int, Meta(ge=-MAX_ID, le=MAX_ID)]

# All that msgspec was seen to raise for hostile lines; a RecursionError is how it refuses 100,000 brackets.
REFUSALS: Final = (DecodeError, UnicodeDecodeError, RecursionError)

T = TypeVar("T")


class About(Struct, frozen=True):
    """What an error echoes of a line: what stood there under these keys, as far as it could be read."""

    id: int | None = None
    name: str | None = None
    ref: Ref | None = None


NOTHING: Final = About()


class BadFrame(Exception):
    """A line that is no frame of this protocol.

    `code` is `bad_version` for a `hello` of another version, else `bad_frame`; `message` is a short sentence for a
    person that quotes nothing of the line; `about` is what the line held that says which one it is.
    """

    def __init__(self, message: str, code: Code = Code.BAD_FRAME, about: About = NOTHING) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.about = about


class _Hints(Struct):
    """The keys that an error is about, left undecoded: any of them may be what is wrong with the line."""

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
    """What to say of a line whose decoding raised this error."""
    hints, explanation = _read(_HINTS, line), _explain(error)
    if hints is None and (hints := _read(_HINTS, _SURROGATE.sub(rb"\\ufffd", line))) is not None:
        explanation = "half of a surrogate pair"
    hints = hints or _Hints()
    about = _about(hints)
    if _read(_STR, hints.type) == "hello" and _read(_INT, hints.v) not in (None, VERSION):
        return BadFrame("this version of the protocol is not spoken here", Code.BAD_VERSION, about)
    return BadFrame(explanation, Code.BAD_FRAME, about)


def about_beginning(start: bytes) -> About:
    """The same for a line of which only the start is left: what the whole keys and values in it tell."""
    text = start.decode(errors="replace")
    found: dict[str, Raw] = {}
    at, last = _SPACE.match(text).end(), "{"  # type: ignore[union-attr]
    while text[at : at + 1] == last and (key := _value(text, at + 1)) and text[key.end : key.end + 1] == ":":
        value = _value(text, key.end + 1)
        if value is None or text[value.end : value.end + 1] not in (",", "}") or not value.end < len(text):
            break  # what is cut off may go on
        found[str(key.value)] = Raw(json.dumps(value.value).encode())
        at, last = value.end, ","
    return _about(_Hints(**{key: found[key] for key in ("id", "name", "ref") if key in found}))


class _Found(Struct, frozen=True):
    """A JSON value in a text, and where what follows on it begins."""

    value: object
    end: int


def _value(text: str, at: int) -> _Found | None:
    """The JSON value that begins here, white space left out."""
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
    if explanation.endswith("`$.type`"):  # msgspec would quote the peer's own words here
        return "unknown frame type"
    return explanation
