"""This module has the colours for dark and light terminals. A name has the same colour every day."""

import hashlib
import os
import unicodedata
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from prompt_toolkit.styles import Style


class Theme(StrEnum):
    """The background of the terminal."""

    AUTO = "auto"  # from COLORFGBG, which some terminals set; otherwise colours that are readable on both
    DARK = "dark"
    LIGHT = "light"


# These are from the 256-colour palette, so that they look alike everywhere. The tests check their contrast.
NAMES: Final[Mapping[Theme, tuple[str, ...]]] = {
    Theme.DARK: ("#5fafff", "#87d75f", "#ffaf5f", "#d787ff", "#5fd7d7", "#ff87af", "#d7d75f"),
    Theme.LIGHT: ("#005faf", "#005f00", "#875f00", "#870087", "#005f5f", "#af005f", "#5f5f00"),
    Theme.AUTO: ("#0087d7", "#5f8700", "#af5f00", "#af5faf", "#008787", "#d75f87", "#878700"),
}
_BAD: Final[Mapping[Theme, str]] = {Theme.DARK: "#ff5f5f", Theme.LIGHT: "#d70000", Theme.AUTO: "#d75f5f"}
_GOOD: Final[Mapping[Theme, str]] = {Theme.DARK: "#87d75f", Theme.LIGHT: "#005f00", Theme.AUTO: "#5f8700"}
_DIM: Final[Mapping[Theme, str]] = {Theme.DARK: "#8a8a8a", Theme.LIGHT: "#626262", Theme.AUTO: "#808080"}
_BAR: Final[Mapping[Theme, str]] = {
    Theme.DARK: "bg:#303030 #d0d0d0",
    Theme.LIGHT: "bg:#d0d0d0 #262626",
    Theme.AUTO: "reverse",
}


def background(theme: Theme) -> Theme:
    """Resolve `AUTO` by COLORFGBG, if the terminal sets it."""
    colours = os.environ.get("COLORFGBG", "").split(";")
    if theme is not Theme.AUTO or not colours[-1].isdecimal():
        return theme
    return Theme.LIGHT if int(colours[-1]) in (7, 15) else Theme.DARK


def style(theme: Theme) -> Style:
    """Return the style of the whole screen. What matters is also visible without colour."""
    rules = {
        "time": _DIM[theme],
        "rule": _DIM[theme],
        "notice": _DIM[theme],
        "raw": _DIM[theme],
        "new": f"{_BAD[theme]} bold",
        "error": _BAD[theme],
        "tick": _DIM[theme],
        "tick.client": _GOOD[theme],
        "tick.node": _DIM[theme],
        "tick.bad": f"{_BAD[theme]} bold",
        "bad": _BAD[theme],
        "found": "reverse",
        "name": "bold",
        "bar": _BAR[theme],
        "bar.good": "bold",
        "bar.bad": "bold" if theme is Theme.AUTO else f"bold {_BAD[theme]}",
        "question": "reverse bold",
        "prompt": "bold",
        "completion-menu": "reverse",
        "completion-menu.completion": "",
        "completion-menu.completion.current": "noreverse bold",
    }
    rules |= {f"name.{index}": colour for index, colour in enumerate(NAMES[theme])}
    return Style.from_dict(rules)


def name_style(name: str) -> str:
    """Return the style of a name. It is the same for all spellings of the name."""
    key = unicodedata.normalize("NFKC", name).casefold().encode("utf-8", "replace")
    return f"class:name class:name.{hashlib.sha256(key).digest()[0] % len(NAMES[Theme.DARK])}"
