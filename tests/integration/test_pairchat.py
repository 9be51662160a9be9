"""`pairchat` against real nodes, where it behaves as it does on scripted ones."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

import pairchat
from tests.cli.piped import Piped
from tests.cli.terminal import Terminal
from tests.integration.conftest import StartNode
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import wait_until

DOCUMENTATION = Path(__file__).parent.parent.parent / "docs" / "pairchat.md"
STARTED = 30.0  # seconds; a start takes much longer on a busy machine
LINES = 1000  # about four windows
LONGEST = 16 * 1024 * 1024  # the most that `--max-line` may be
LONG = 1_200_000  # bytes, in a chat with a window of 1 MiB

Pair = tuple[Node, Node]
Run = Callable[..., Any]


@pytest.fixture
def run() -> Iterator[Run]:
    """Starts the commands of a test, and ends them with the test."""
    with ExitStack() as started:
        yield lambda kind, *args, at, **how: started.enter_context(kind(*args, server=at.server, **how))


@pytest.fixture
def listening(places: Pair, run: Run, guests: Guests) -> Piped:
    """Bob, who listens without a terminal and can be called."""
    bob: Piped = run(Piped, "pc-bob", at=places[1], stdin=subprocess.DEVNULL)
    probe = guests.json(places[1], "pc-probe")
    wait_until(lambda: probe.who("pc-bob") == "free", "bob is there", STARTED)
    return bob


def test_more_lines_than_a_window_arrive_in_order_and_both_ends_end_well(
    places: Pair, run: Run, listening: Piped
) -> None:
    alice = run(Piped, "pc-alice", "--to", "pc-bob", at=places[0])
    alice.type("".join(f"line {number}\n" for number in range(LINES)).encode())
    alice.end_input()
    assert alice.ended() == (0, "", ["* You are chatting with pc-bob."])
    status, out, told = listening.ended()
    assert (status, told) == (0, ["* You are chatting with pc-alice.", "* pc-alice has quit."])
    assert out.splitlines() == [f"pc-alice: line {number}" for number in range(LINES)]


def test_a_busy_partner_and_one_who_does_not_exist_are_told(places: Pair, run: Run, guests: Guests) -> None:
    bob, carol = guests.text(places[0], "pc-bob"), guests.text(places[1], "pc-carol")
    bob.call("pc-carol")
    carol.expect_notice("pc-bob")
    alice = run(Piped, "pc-alice", "--to", "pc-bob", at=places[1])
    assert alice.ended() == (5, "", ["* pc-bob is talking with someone else"])
    alice = run(Piped, "pc-alice", "--to", "pc-nobody", at=places[1])
    assert alice.ended() == (5, "", ["* there is nobody called pc-nobody"])


def test_a_taken_name_is_one_line_and_a_status(places: Pair, run: Run, guests: Guests) -> None:
    guests.text(places[0], "pc-alice")
    assert run(Piped, "pc-alice", at=places[1]).ended() == (4, "", ["pairchat: the name pc-alice is taken"])


def test_a_terminal_chats_with_somebody_on_nc(places: Pair, run: Run, guests: Guests) -> None:
    bob = guests.text(places[1], "pc-bob")
    alice: Terminal = run(Terminal, "pc-alice", "--to", "pc-bob", at=places[0])
    alice.wait_for("* You are chatting with pc-bob.")
    bob.expect_notice("pc-alice")
    alice.type("hé 👋\r")
    bob.expect_message("pc-alice", "hé 👋")
    alice.wait_for("✓  pc-alice │ hé 👋")  # bob's node has it, and his program can't acknowledge
    alice.type("half a li")
    alice.wait_typed("> half a li")
    bob.send("hello \x1b[2J")
    lines = alice.wait(lambda lines: lines[-1] == "> half a li" and "hello" in lines[-3], "bob's text above")
    assert lines[-3].endswith(r"  pc-bob │ hello \x1b[2J")
    alice.type("\x03/quit\r")
    assert alice.status() == 0
    bob.expect("Quit.")


def test_the_bot_of_the_documentation_answers(nodes: list[Node], guests: Guests, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(encoding="utf-8"), re.DOTALL)
    [bot] = [block for block in blocks if "subprocess" in block]
    assert len([line for line in bot.splitlines() if line]) <= 12
    (tmp_path / "bot.py").write_text(bot, encoding="utf-8")
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": places, "XDG_STATE_HOME": str(tmp_path)}
    command = [sys.executable, str(tmp_path / "bot.py"), "--server", nodes[0].server]
    with subprocess.Popen(command, env=environment) as process:
        alice = guests.json(nodes[1], "pc-alice")
        wait_until(lambda: alice.who("echo") == "free", "the bot is there")
        alice.call("echo")
        alice.send("msg", id=1, text="hé\n👋")
        alice.expect("ack", id=1)
        alice.expect("msg", text="you said: hé\n👋")
        process.terminate()
        # The bot doesn't quit by itself: its end of the pipe closes, and pairchat gives the name back.
        alice.expect("left", reason="quit")


@pytest.mark.anyio
async def test_two_programs_with_the_library_chat(places: Pair) -> None:
    async with (
        pairchat.connect(places[0].server, name="pc-alice") as alice,
        pairchat.connect(places[1].server, name="pc-bob") as bob,
    ):
        assert await alice.who("pc-bob") == "free"
        assert await alice.call("PC-Bob") == "pc-bob"
        receipt = await alice.send("hi")
        async for event in bob:
            if isinstance(event, pairchat.Message):
                bob.acknowledge()
                assert event.text == "hi"
                break
        with anyio.fail_after(10):
            assert await receipt.delivered() == "client"
        with pytest.raises(pairchat.Refused) as told:
            await alice.call("pc-alice")
        assert told.value.code == "self_chat"
        await alice.leave()
        assert alice.partner is None


@pytest.mark.anyio
async def test_a_text_arrives_however_long_a_node_lets_it_be_and_however_much_of_it_is_escaped(
    start_node: StartNode, guests: Guests
) -> None:
    node = start_node(max_line=LONGEST)
    async with pairchat.connect(node.server, name="pc-ben") as ben:
        ann = guests.text(node, "pc-ann")
        ann.call("pc-ben")
        ann.send("\x01" * LONG)
        with anyio.fail_after(10):
            async for event in ben:
                if isinstance(event, pairchat.Message):
                    assert event.text == "\x01" * LONG
                    break
