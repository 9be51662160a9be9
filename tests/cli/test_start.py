"""A start in a new interpreter, as users do it; the other tests fork. A run imports nothing that it doesn't use."""

import subprocess
import sys

import pytest

from tests.cli.chatting import CTRL_D, Open, paired
from tests.cli.children import fresh
from tests.cli.piped import Start
from tests.cli.scripted import ScriptedNode

PIPE = "import pairchat.cli; pairchat.cli.main()"  # without a name it ends with a usage message
SCREEN = "import pairchat.screen"


@pytest.mark.parametrize(
    ("code", "unused"),
    [
        (PIPE, ("pydantic", "prompt_toolkit", "rich", "websockets", "h11", "urllib.request")),
        (SCREEN, ("typer", "rich", "websockets", "h11")),
    ],
)
def test_nothing_slow_is_imported_in_vain(code: str, unused: tuple[str, ...]) -> None:
    report = f"import atexit, sys; atexit.register(lambda: print([n for n in {unused} if n in sys.modules])); {code}"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.stdout == "[]\n", done.stderr


def test_a_fresh_process_chats_in_a_terminal(node: ScriptedNode, terminal: Open) -> None:
    screen, peer = paired(node, terminal, launch=fresh)
    screen.type(CTRL_D)
    peer.part()
    assert screen.status() == 0


def test_a_fresh_process_chats_in_a_pipe(node: ScriptedNode, start: Start) -> None:
    process = start("alice", "--to", "bob", launch=fresh)
    process.end_input()
    peer = node.accept()
    peer.welcome("alice")
    peer.pair("bob")
    peer.part()
    assert process.ended() == (0, "", ["* You are chatting with bob."])
