"""Replies of Redis that want to be read: text, and pairs in a row."""

from collections.abc import Iterable
from typing import Any


def text(value: Any) -> str:
    """A reply as text; bytes that are none are shown with backslashes."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def pairs(reply: Iterable[Any]) -> dict[Any, Any]:
    """Names and values that follow one another."""
    words = iter(reply)
    return dict(zip(words, words, strict=False))


def formed(command: str, answer: Any) -> Any:
    """An answer as callers want it: of HSCAN the cursor, and fields by their names; every other one as it came."""
    if command != "HSCAN":
        return answer
    cursor, fields = answer
    return int(cursor), pairs(fields)
