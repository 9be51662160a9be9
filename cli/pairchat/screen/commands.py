"""What can be typed with a slash in front."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple


class Command(NamedTuple):
    """One command, for the help, for completion, and for whoever carries it out."""

    name: str
    argument: str  # shown; empty: takes none; in brackets: may be left out
    about: str
    names: bool = False  # its argument is somebody's name


COMMANDS = {
    command.name: command
    for command in (
        Command("/to", "NAME", "chat with somebody, leaving a present chat", names=True),
        Command("/leave", "", "end the chat, stay online; give up a call that rings"),
        Command("/accept", "", "take a call (with --ask)"),
        Command("/decline", "", "don't take it"),
        Command("/block", "NAME", "have somebody's calls refused as long as you stay", names=True),
        Command("/unblock", "NAME", "let somebody call again", names=True),
        Command("/who", "NAME", "ask whether somebody is there", names=True),
        Command("/retry", "", "send again what may not have arrived, under new ids"),
        Command("/search", "[TEXT]", "find a text; again without TEXT: the one before"),
        Command("/clear", "", "empty the screen"),
        Command("/log", "[FILE]", "append all that is said to a file; without FILE: stop"),
        Command("/raw", "", "show the frames in and out, or stop it"),
        Command("/help", "", "this"),
        Command("/quit", "", "leave for good (or Ctrl-D)"),
    )
}

KEYS = (
    ("//text", "say something that begins with a slash"),
    ("Alt-Enter", "a new line in the text"),
    ("PageUp, PageDown, wheel", "scroll back and forth; End: to the latest (on an empty line)"),
    ("Tab", "complete a command or a name"),
    ("Up, Down", "what you typed before"),
    ("Ctrl-C", "drop the line; on an empty line: quit"),
)


class Typed(NamedTuple):
    """A line, taken apart."""

    command: str  # empty: a text
    rest: str


class Wrong(Exception):
    """The line is no command. `str()` says why, in one line that still has to be escaped."""


def parse(line: str) -> Typed:
    """Take a line apart. Raises `Wrong`."""
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
    """The nearest command, if any is near."""
    near = get_close_matches(name.lower(), COMMANDS, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else "/help lists the commands; //text says a text with a slash."


def help_lines() -> Iterable[str]:
    """The help."""
    shown = [(f"{command.name} {command.argument}".rstrip(), command.about) for command in COMMANDS.values()]
    return (f"{what:<24}{about}" for what, about in [*shown, *KEYS])
