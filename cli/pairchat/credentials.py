"""This module reads the token with which a user proves a name to a relay, from a file or from the environment.

The relay's operator issues the token. It is never taken from the command line, which all users of the machine can read.
"""

import inspect
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from pairchat.bounded_read import read_file
from pairchat.errors import BadSettings
from pairchat.sansio_protocol import AuthToken

Auth = Callable[[], str | Awaitable[str | None] | None]

VARIABLE: Final = "PAIRCHAT_AUTH"


def proof(file: str | None) -> AuthToken | None:
    """Return a function that reads the token, or None if no token is configured. Raises `BadSettings`.

    Call the function for each connection, because tokens expire. It returns None if the file became unreadable.
    """
    if file is None:
        token = os.environ.get(VARIABLE, "").strip()
        if not _is_unicode(token):
            raise BadSettings(f"{VARIABLE} is not UTF-8")
        return (lambda: token) if token else None
    try:
        _read(file)
    except UnicodeDecodeError:
        raise BadSettings(f"can't read {file}: not UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError means a zero byte in the name
        raise BadSettings(f"can't read {file}: {getattr(error, 'strerror', None) or error}") from None
    return lambda: _read_or_nothing(file)


def _read(file: str) -> str:
    return read_file(Path(file)).decode().strip()


def _read_or_nothing(file: str) -> str | None:
    try:
        return _read(file)
    except (OSError, UnicodeDecodeError):
        return None


async def prove(auth: Auth | None) -> str | None:
    """Return the token that `auth` gives now. Raises what `auth` raises, and TypeError or ValueError if it is bad."""
    token = auth() if auth is not None else None
    if inspect.isawaitable(token):
        token = await token
    if not isinstance(token, str | None):
        raise TypeError(f"auth must give a text or None, not {type(token).__name__}")
    if token is not None and not _is_unicode(token):
        raise ValueError("auth must give a text that is Unicode")
    return token


def _is_unicode(token: str) -> bool:
    """Return True if the token has no lone surrogate, which would stand for a byte that is not UTF-8."""
    try:
        token.encode()
    except UnicodeEncodeError:
        return False
    return True
