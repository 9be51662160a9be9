"""Matches names with Redis' glob patterns: `*`, `?`, `[a-z]`, `[^a]` and backslashes."""

import re
from functools import lru_cache


@lru_cache(maxsize=256)
def compiled(pattern: bytes) -> re.Pattern[bytes]:
    """Return a regular expression that matches the whole of the names that the pattern matches."""
    expression, place = b"", 0
    while place < len(pattern):
        sign = pattern[place : place + 1]
        place += 1
        if sign == b"*":
            expression += b".*"
        elif sign == b"?":
            expression += b"."
        elif sign == b"[":
            part, place = _class(pattern, place)
            expression += part
        else:
            if sign == b"\\" and place < len(pattern):
                sign = pattern[place : place + 1]
                place += 1
            expression += re.escape(sign)
    return re.compile(expression, re.DOTALL)


def _class(pattern: bytes, place: int) -> tuple[bytes, int]:
    """Return the expression of a class of characters that begins here, and the place after it."""
    negated = pattern[place : place + 1] == b"^"
    place += negated
    members = b""
    while place < len(pattern) and pattern[place : place + 1] != b"]":
        if pattern[place : place + 1] == b"\\" and place + 1 < len(pattern):
            members += re.escape(pattern[place + 1 : place + 2])
            place += 2
        elif pattern[place + 1 : place + 2] == b"-" and place + 2 < len(pattern):
            low, high = sorted((pattern[place : place + 1], pattern[place + 2 : place + 3]))
            members += re.escape(low) + b"-" + re.escape(high)
            place += 3
        else:
            members += re.escape(pattern[place : place + 1])
            place += 1
    nothing = b"." if negated else b"(?!)"
    return (b"[%b%b]" % (b"^" if negated else b"", members) if members else nothing), place + 1


def matches(pattern: bytes, name: bytes) -> bool:
    """Return whether a pattern matches a name."""
    return compiled(pattern).fullmatch(name) is not None
