"""A server name that no name server answers about delays neither other servers nor the end of the program."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.chatting import CTRL_C
from tests.cli.piped import Piped, Start
from tests.cli.scripted import ScriptedNode
from tests.cli.terminal import Terminal

HANGING = str(Path(__file__).parents[1] / "fixtures/hanging_names")
HANGS = "hangs.example:9999"


@pytest.fixture
def node() -> Iterator[ScriptedNode]:
    with ScriptedNode() as node:
        yield node


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as started:
        yield lambda *args, server=HANGS: started.enter_context(Piped(*args, server=server, PYTHONPATH=HANGING))


def test_the_other_server_is_taken(node: ScriptedNode, start: Start) -> None:
    process = start("alice", "--to", "bob", server=f"{HANGS} {node.address}")
    peer = node.accept()
    peer.welcome("alice")
    peer.pair("bob")
    peer.close()
    again = node.accept()  # the look-up still hangs
    again.take_back("alice", 0, partner="bob")
    process.end_input()
    again.part()
    assert process.ended()[0] == 0


def test_the_time_out_ends_pairchat_although_no_name_server_answers(start: Start) -> None:
    process = start("alice", "--timeout", "0.2")
    assert process.ended() == (6, "", ["asked", "pairchat: not done within 0.2 s"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_pairchat_although_no_name_server_answers(start: Start, number: signal.Signals) -> None:
    process = start("alice")
    assert process.notice() == "asked"
    process.signal(number)
    assert process.ended() == (128 + number, "", [])


def test_a_terminal_is_left() -> None:
    with Terminal("alice", server=HANGS, PYTHONPATH=HANGING) as screen:
        screen.wait_for("asked")
        screen.type(CTRL_C)
        assert screen.status() == 0
