"""Take the picture of `pairchat` in the README: the real program in a terminal, on two real nodes.

    make screenshot

Alice is on the first node and bob on the second. The first one is killed while they talk. The final screen of alice's
terminal is written to docs/pairchat.svg.
"""

import contextlib
import io
import re
import sys
import tempfile
from itertools import groupby
from pathlib import Path

import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "cli")]

from tests.cli.terminal import Terminal  # noqa: E402  the picture uses the terminal of the tests
from tests.support.node import Node  # noqa: E402
from tests.support.server import RedisServer  # noqa: E402

COLUMNS, ROWS = 80, 15
PICTURE = ROOT / "docs" / "pairchat.svg"
THEME = TerminalTheme(
    (24, 24, 24),
    (208, 208, 208),
    [(24, 24, 24)] * 8,  # the picture uses colours of the 256-colour palette only
)


FONTS = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)


def server(node: Node) -> str:
    """Return the node's address in the form of the option `--server`."""
    return ":".join(map(str, node.address))


def talk(nodes: list[Node], stack: contextlib.ExitStack) -> Terminal:
    """Play a conversation that survives the loss of a node, and return alice's terminal."""
    one, two = nodes
    options = ("--theme", "dark")
    bob = stack.enter_context(Terminal("bob", *options, server=server(two)))
    bob.wait_bar("nobody yet")
    both = ("--server", server(one), "--server", server(two))
    alice = stack.enter_context(
        Terminal("alice", "--to", "bob", *both, *options, server=server(one), columns=COLUMNS, rows=ROWS)
    )
    alice.wait_bar("bob is here")
    say(alice, bob, "hi bob! Two nodes, and each of us is on another one.")
    say(bob, alice, "張偉 and דנה want to join us 👋 what happens if a node dies?")
    say(alice, bob, "let's see: I type, and you pull the plug of mine")
    one.kill()
    alice.wait_for("Connected as alice again.")
    say(alice, bob, "that was it: I am on the other node now, and this text has arrived")
    bob.type("nothing lost, ")
    bob.type("nothing twice. I'd have missed it\r")
    alice.wait_for("I'd have missed it")
    bob.type("and")
    alice.type("/who carol\r")
    alice.wait_for("carol is not there")
    alice.type("next time we kill bo")
    alice.wait_typed("> next time we kill bo")
    bob.type(" by the way")
    alice.wait_bar("bob is typing")
    return alice


def say(speaker: Terminal, listener: Terminal, text: str) -> None:
    """Send a text, and wait until it has arrived and is acknowledged."""
    speaker.type(text + "\r")
    listener.wait_for(text[:20])
    speaker.wait(lambda lines: any("✓✓" in line and text[:20] in line for line in lines), "the ticks")


def picture(screen: pyte.Screen) -> str:
    """Return the screen as SVG."""
    console = Console(width=screen.columns, record=True, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    for number in range(screen.lines):
        row = Text(no_wrap=True, end="\n")
        cells = [screen.buffer[number][column] for column in range(screen.columns)]
        for look, run in groupby(cells, style):
            row.append("".join(cell.data for cell in run), look)
        console.print(row, soft_wrap=True)
    # The fonts that rich loads from another host are left out, because pages show pictures without loading anything.
    return console.export_svg(title="pairchat", theme=THEME, code_format=FONTS.sub("", CONSOLE_SVG_FORMAT)).replace(
        "Fira Code", "DejaVu Sans Mono, Menlo, Consolas"
    )


def style(cell: pyte.screens.Char) -> str:
    """Return the style of a cell in rich's notation."""
    words = [word for word, on in (("bold", cell.bold), ("reverse", cell.reverse)) if on]
    words += [colour(cell.fg)] if cell.fg != "default" else []
    words += ["on " + colour(cell.bg)] if cell.bg != "default" else []
    return " ".join(words)


def colour(name: str) -> str:
    """Convert pyte's name of a colour to rich's."""
    return f"#{name}" if len(name) == 6 and all(letter in "0123456789abcdef" for letter in name) else name


def main() -> None:
    """Play the conversation and write the picture."""
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder) / "redis")
        stack.callback(redis.stop)
        nodes = [Node(Path(folder), redis=redis.url, prefix="screenshot", lease=2, grace=30) for _ in range(2)]
        for node in nodes:
            stack.callback(node.kill)
        PICTURE.write_text(picture(talk(nodes, stack).screen), encoding="utf-8")
    print(f"written: {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
