"""A server's name that no name server answers about: it holds up neither other servers nor the end of the program."""

import signal
from pathlib import Path

import pytest

from tests.cli.chatting import CTRL_C, Open
from tests.cli.children import fresh
from tests.cli.piped import Start
from tests.cli.scripted import ScriptedNode

HANGING = str(Path(__file__).parents[1] / "fixtures/hanging_names")
HANGS = "hangs.example:9999"


def test_the_other_server_is_taken(node: ScriptedNode, start: Start) -> None:
    process = start("alice", "--to", "bob", server=f"{HANGS} {node.address}", launch=fresh, PYTHONPATH=HANGING)
    peer = node.accept()
    peer.welcome("alice")
    peer.pair("bob")
    peer.close()
    again = node.accept()  # while the name still hangs
    again.take_back("alice", 0, partner="bob")
    process.end_input()
    again.part()
    assert process.ended()[0] == 0


def test_the_time_is_over_when_it_is(start: Start) -> None:
    process = start("alice", "--timeout", "0.2", server=HANGS, launch=fresh, PYTHONPATH=HANGING)
    assert process.ended() == (6, "", ["asked", "pairchat: not done within 0.2 s"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(start: Start, number: signal.Signals) -> None:
    process = start("alice", server=HANGS, launch=fresh, PYTHONPATH=HANGING)
    assert process.notice() == "asked"
    process.signal(number)
    assert process.ended() == (128 + number, "", [])


def test_a_terminal_is_left(terminal: Open) -> None:
    screen = terminal("alice", server=HANGS, launch=fresh, PYTHONPATH=HANGING)
    screen.wait_for("asked")
    screen.type(CTRL_C)
    assert screen.status() == 0
