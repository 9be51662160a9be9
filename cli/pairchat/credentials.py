"""What proves to a relay that a name is the user's: a token that its operator issued, from a file or the environment.

Never from the command line, which every user of the machine can read.
"""

import inspect
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from pairchat.errors import BadSettings
from pairchat.files import read_file
from pairchat.protocol import AuthToken

Auth = Callable[[], str | Awaitable[str | None] | None]

VARIABLE: Final = "PAIRCHAT_AUTH"


def proof(file: str | None) -> AuthToken | None:
    """Reads the token again for each connection, since it expires; None: there is none. Raises `BadSettings`.

    A file that can't be read any more later on proves nothing.
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
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
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
    """What the program has to show now. Raises whatever it raises, and TypeError or ValueError if that is no text."""
    token = auth() if auth is not None else None
    if inspect.isawaitable(token):
        token = await token
    if not isinstance(token, str | None):
        raise TypeError(f"auth must give a text or None, not {type(token).__name__}")
    if token is not None and not _is_unicode(token):
        raise ValueError("auth must give a text that is Unicode")
    return token


def _is_unicode(token: str) -> bool:
    """Whether it can be said: not with half of a surrogate pair in it, which stands for a byte that is no UTF-8."""
    try:
        token.encode()
    except UnicodeEncodeError:
        return False
    return True
