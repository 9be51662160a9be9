"""This module reads and writes the file with the settings. The environment and options override what it has."""

import os
import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec

from pairchat.bounded_read import read_file
from pairchat.errors import BadSettings
from pairchat.user_folders import user_folder

FILE: Final = "config.toml"
# The keys of the file, each named like its option, and the types of their values.
_KEYS: Final[dict[str, Any]] = {
    "name": str,
    "to": str,
    "server": list[str],
    "theme": str,
    "notify": str,
    "mouse": bool,
    "ask": bool,
    "typing": bool,
    "tls": bool,
    "tls_ca": str,
    "tls_cert": str,
    "tls_key": str,
    "auth_file": str,
    "proxy": str,
}


def config_file() -> Path | None:
    """Return the path of this user's settings, or None if the user has no home folder."""
    folder = user_folder("XDG_CONFIG_HOME", ".config")
    return folder and folder / FILE


def read(path: Path, *, must_exist: bool) -> dict[str, Any]:
    """Return the settings in a file. A byte-order mark at its beginning is ignored.

    Raises `BadSettings` with one line that names the file and says what is wrong with it.
    """
    try:
        found = tomllib.loads(read_file(path).decode("utf-8-sig"))
    except FileNotFoundError:
        if must_exist:
            raise BadSettings(f"there is no {path}") from None
        return {}
    except OSError as error:
        raise BadSettings(f"can't read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # bad TOML, bad UTF-8, or a number with too many digits
        raise BadSettings(f"{path} is not TOML: {error}") from None
    return {key: _checked(path, key, value) for key, value in found.items()}


def _checked(path: Path, key: str, value: Any) -> Any:
    wanted = _KEYS.get(key)
    if wanted is None:
        raise BadSettings(f"{path}: there is no {key!r}; known are {', '.join(_KEYS)}")
    if key == "server" and isinstance(value, str):
        value = [value]
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError:
        raise BadSettings(f"{path}: {key!r} has to be {_WORDS[wanted]}") from None


_WORDS: Final[dict[Any, str]] = {str: "a text", list[str]: "a text, or a list of texts", bool: "true or false"}


def write(path: Path, values: dict[str, Any]) -> None:
    """Create the file, readable by its owner only. Raises OSError, and FileExistsError if it exists."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write("# Settings of pairchat; the environment and options go over them. See docs/pairchat.md.\n")
        file.writelines(f"{key} = {_toml(value)}\n" for key, value in values.items())


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    escaped = "".join(_escaped(character) for character in str(value))
    return f'"{escaped}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"
