"""Replies of Redis that have a form of their own: INFO, and pairs in a row."""

from collections.abc import Iterable
from typing import Any


def text(value: Any) -> str:
    """A reply as text; bytes that are none are shown with backslashes."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def info(reply: Any) -> dict[str, Any]:
    """The fields of INFO: numbers, text, and for fields that hold fields of their own (`slave0:ip=…,port=…`) a dict."""
    lines = (line.partition(":") for line in text(reply).splitlines() if not line.startswith("#"))
    return {name: _value(value) for name, colon, value in lines if colon}


def _value(value: str) -> Any:
    if value.isascii() and value.removeprefix("-").isdecimal():
        return int(value)
    parts = [part.partition("=") for part in value.split(",")]
    return {key: its for key, _, its in parts} if all(equals for _, equals, _ in parts) else value


def pairs(reply: Iterable[Any]) -> dict[Any, Any]:
    """Names and values that follow one another."""
    words = iter(reply)
    return dict(zip(words, words, strict=False))


def formed(command: str, answer: Any) -> Any:
    """An answer as the relay works with it: that of HSCAN is a cursor and a dict, any other stays as it is."""
    if command == "HSCAN" and isinstance(answer, list):
        cursor, fields = answer
        return int(cursor), pairs(fields)
    return answer
