"""Converts replies of Redis to dicts: the text of INFO, and flat lists of alternating names and values."""

from collections.abc import Iterable
from typing import Any


def text(value: Any) -> str:
    """Return a reply as text, with backslash escapes for bytes that aren't UTF-8."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def info(reply: Any) -> dict[str, Any]:
    """Return the fields of INFO: numbers, text, or a dict for a field with its own fields (`slave0:ip=…,port=…`)."""
    lines = (line.partition(":") for line in text(reply).splitlines() if not line.startswith("#"))
    return {name: _value(value) for name, colon, value in lines if colon}


def _value(value: str) -> Any:
    if value.isascii() and value.removeprefix("-").isdecimal():
        return int(value)
    parts = [part.partition("=") for part in value.split(",")]
    return {key: its for key, _, its in parts} if all(equals for _, equals, _ in parts) else value


def pairs(reply: Iterable[Any]) -> dict[Any, Any]:
    """Return a flat list of alternating names and values as a dict."""
    words = iter(reply)
    return dict(zip(words, words, strict=False))


def formed(command: str, answer: Any) -> Any:
    """Convert the reply to a command: that of HSCAN becomes a cursor and a dict, any other stays as it is."""
    if command == "HSCAN" and isinstance(answer, list):
        cursor, fields = answer
        return int(cursor), pairs(fields)
    return answer
