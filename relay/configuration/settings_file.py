"""Reads a file of settings (TOML), and finds environment variables that are probably misspelt."""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from enum import EnumType
from pathlib import Path
from types import UnionType
from typing import Any, Final

import msgspec

from relay.configuration.config import ConfigError, read_file

PREFIX: Final = "RELAY_"
_WORDS: Final[dict[Any, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Path: "a text (a path)",
    list[str]: "a list of texts",
}


def read(path: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the file, by option names with underscores. `known` has the type of each allowed one.

    Raises:
        ConfigError: the file can't be read or isn't TOML, a name is unknown, or a value has another type.
    """
    return dict(_checked(path, key, value, known) for key, value in _parsed(path).items())


def _parsed(path: Path) -> dict[str, Any]:
    content = read_file("--config", path)
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # for invalid TOML or UTF-8, and numbers that are too long
        raise ConfigError(f"--config {str(path)!r} isn't TOML: {error}") from None


def _checked(path: Path, key: str, value: Any, known: Mapping[str, Any]) -> tuple[str, Any]:
    name = key.replace("-", "_")
    if name not in known:
        near = "".join(f"; {one!r}?" for one in difflib.get_close_matches(name, known, 1))
        raise ConfigError(f"--config {str(path)!r}: there is no {key!r} here{near}")
    wanted = _bare(known[name])
    try:
        msgspec.convert(value, str if wanted is Path else wanted)
        fits = not (isinstance(value, str) and "\0" in value)
    except msgspec.ValidationError:
        fits = False
    if not fits:
        raise ConfigError(f"--config {str(path)!r}: {key!r} has to be {_in_words(wanted)}")
    return name, value


def _bare(wanted: Any) -> Any:
    """Return the type without its None, as TOML has no null."""
    if isinstance(wanted, UnionType):
        (wanted,) = (one for one in wanted.__args__ if one is not type(None))
    return wanted


def _in_words(wanted: Any) -> str:
    if isinstance(wanted, EnumType):
        members: Mapping[str, Any] = wanted.__members__
        return " or ".join(member.value for member in members.values())
    return _WORDS.get(wanted, "a text")


def strange(environment: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return the variables with our prefix that no option has, each with a similar one that may have been meant."""
    names = {variable.removeprefix(PREFIX): variable for variable in known}
    told = []
    for variable in sorted(environment):
        name = variable.removeprefix(PREFIX)
        if name != variable and name not in names:
            near = difflib.get_close_matches(name, names, 1)
            told.append(f"{variable} ({names[near[0]]}?)" if near else variable)
    return told
