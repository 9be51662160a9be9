"""Lines that are no frames: what can still be read of them, and what is said about them."""

import re
from typing import Annotated, Final, TypeVar

from msgspec import DecodeError, Meta, Raw, Struct
from msgspec.json import Decoder

from relay.errors import Code

VERSION: Final = 1
SUPPORTED: Final = (VERSION,)

# Every JSON parser keeps integers up to this one exactly, JavaScript's included (RFC 8259, section 6).
MAX_ID: Final = 2**53 - 1

# All that msgspec was seen to raise for hostile lines; a RecursionError is how it refuses 100,000 brackets.
REFUSALS: Final = (DecodeError, UnicodeDecodeError, RecursionError)

T = TypeVar("T")


class BadFrame(Exception):
    """A line that is no frame of this protocol.

    `code` is `bad_version` for a `hello` of another version, else `bad_frame`; `message` is a short sentence for a
    person that quotes nothing of the line; `id` and `name` are what the line held under these keys, as far as it could
    be read.
    """

    def __init__(
        self, message: str, code: Code = Code.BAD_FRAME, id: int | None = None, name: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.id = id
        self.name = name


class _Hints(Struct):
    """The keys that an error is about, left undecoded: any of them may be what is wrong with the line."""

    type: Raw = Raw()
    v: Raw = Raw()
    id: Raw = Raw()
    name: Raw = Raw()


_HINTS: Final = Decoder(_Hints)
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_STR: Final = Decoder(str)
_INT: Final = Decoder(Annotated[int, Meta(ge=-MAX_ID, le=MAX_ID)])


def bad_frame(line: bytes, error: Exception) -> BadFrame:
    """What to say of a line whose decoding raised this error."""
    hints, explanation = _read(_HINTS, line), _explain(error)
    if hints is None and (hints := _read(_HINTS, _SURROGATE.sub(rb"\\ufffd", line))) is not None:
        explanation = "half of a surrogate pair"
    hints = hints or _Hints()
    id, name = _read(_INT, hints.id), _read(_STR, hints.name)
    if _read(_STR, hints.type) == "hello" and _read(_INT, hints.v) not in (None, VERSION):
        return BadFrame("this version of the protocol is not spoken here", Code.BAD_VERSION, id, name)
    return BadFrame(explanation, Code.BAD_FRAME, id, name)


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
