"""Reads numbers and options among the words of a command, as strictly as the server does."""

from typing import Final

from simulator.redis.replies import CommandError

SYNTAX: Final = "ERR syntax error"
NOT_AN_INTEGER: Final = "ERR value is not an integer or out of range"
_LARGEST: Final = 2**63 - 1


def integer(word: bytes, refusal: str = NOT_AN_INTEGER) -> int:
    """Return a number that is written without signs, spaces and zeros that needn't be there. Raises CommandError."""
    try:
        number = int(word)
    except ValueError:
        raise CommandError(refusal) from None
    if not -_LARGEST - 1 <= number <= _LARGEST or b"%d" % number != word:
        raise CommandError(refusal)
    return number


def small_integer(word: bytes) -> int:
    """Return a number of 32 bits. Raises CommandError."""
    number = integer(word)
    if not -(2**31) <= number < 2**31:
        raise CommandError("ERR value is out of range, value must between -2147483648 and 2147483647")
    return number


def cursor(word: bytes) -> int:
    """Return the cursor of a SCAN. Raises CommandError."""
    digits = word.lstrip()
    if not digits.isdigit() or int(digits) >= 2**64:
        raise CommandError("ERR invalid cursor")
    return int(digits)


def deadline(number: int, unit: int, since: int, command: str) -> int:
    """Return when something expires, in milliseconds since 1970. Raises CommandError if no such time can be written.

    `unit` is the length of the unit of `number` in milliseconds, and `since` is 0, or the time from which it counts.
    """
    when = number * unit
    if when < -_LARGEST - 1 or when + since > _LARGEST:
        raise CommandError(f"ERR invalid expire time in '{command}' command")
    return when + since
