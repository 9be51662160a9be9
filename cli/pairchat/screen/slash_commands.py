"""This module has the slash commands and parses them."""

from difflib import get_close_matches
from typing import NamedTuple


class Command(NamedTuple):
    """One command, for the help, for completion, and for `LineExecutor`, which carries it out."""

    name: str
    argument: str  # as the help shows it; empty if there is none, in brackets if it is optional
    about: str
    names: bool = False  # True if its argument is a user's name


COMMANDS = {
    command.name: command
    for command in (
        Command("/to", "NAME", "chat with somebody, leaving a present chat", names=True),
        Command("/leave", "", "end the chat; give up a call that rings"),
        Command("/accept", "", "take a call (with --ask)"),
        Command("/decline", "", "don't take a call (with --ask)"),
        Command("/block", "NAME", "end a chat, refuse further calls of that one", names=True),
        Command("/unblock", "NAME", "let somebody call again", names=True),
        Command("/who", "NAME", "is somebody there?", names=True),
        Command("/retry", "", "send again what may not have arrived"),
        Command("/search", "[TEXT]", "find a text; without TEXT: the one before"),
        Command("/clear", "", "empty the screen"),
        Command("/log", "[FILE]", "append all that is said to a file, or stop it"),
        Command("/raw", "", "show the frames in and out, or stop it"),
        Command("/help", "", "this"),
        Command("/quit", "", "leave for good (or Ctrl-D)"),
    )
}

KEYS = (
    ("//text", "say something that begins with a slash"),
    ("Alt-Enter", "a new line in the text"),
    ("PageUp, PageDown", "scroll (the wheel, too); End: to the latest"),
    ("Tab; Up, Ctrl-R", "complete; what you typed before, and search it"),
    ("Ctrl-C", "drop the line; on an empty line: quit"),
)


class Typed(NamedTuple):
    """A parsed line."""

    command: str  # empty for a text
    rest: str


class Wrong(Exception):
    """The line is no valid command. `str()` says why, in one line that still has to be escaped."""


def parse(line: str) -> Typed:
    """Parse a line. Raises `Wrong`."""
    if line.startswith("//"):
        return Typed("", line[1:])
    if not line.startswith("/"):
        return Typed("", line)
    name, _, rest = line.partition(" ")
    rest = rest.strip()
    command = COMMANDS.get(name)
    if command is None:
        raise Wrong(f"There is no {name}; nothing was sent. {suggestion(name)}")
    if rest and not command.argument:
        raise Wrong(f"{name} takes nothing behind it; nothing was done.")
    if not rest and command.argument and not command.argument.startswith("["):
        raise Wrong(f"{name} needs a {command.argument.lower()}: {name} {command.argument}")
    return Typed(name, rest)


def suggestion(name: str) -> str:
    """Return a hint with the most similar command, or a general one if none is similar."""
    near = get_close_matches(name.lower(), COMMANDS, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else "/help lists the commands; //text says a text with a slash."


def help_text() -> str:
    """Return the help, with one row for each command and key. It fits on a screen of 24 rows."""
    shown = [(f"{command.name} {command.argument}".rstrip(), command.about) for command in COMMANDS.values()]
    return "\n".join(f"{what:<18}{about}" for what, about in [*shown, *KEYS])
