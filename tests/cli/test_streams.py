"""Standard streams that are closed, full, unread, or in another encoding, and signals that are ignored."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
import pytest

from pairchat.stdio import Notices
from tests.cli.chatting import CTRL_D, Open, a_text
from tests.cli.children import Child, Nursery, Streams, fresh
from tests.cli.piped import Start
from tests.cli.scripted import QUIT, Peer, ScriptedNode


def alone(peer: Peer) -> None:
    """A chat that can't begin, because bob isn't there."""
    peer.welcome("alice")
    peer.expect({"type": "to", "name": "bob"})
    peer.say('{"type":"error","code":"no_such_user","message":"no","name":"bob"}', '{"type":"pong"}')
    peer.heard()  # the ping that was answered already
    peer.part()


@pytest.mark.parametrize("how", ["--json", "--wait"])
def test_without_standard_error_nothing_gets_into_the_output(
    node: ScriptedNode, start: Start, nursery: Nursery, how: str
) -> None:
    process = start("alice", how, launch=partial(nursery.start, closed=[2]))
    node.accept_bare().close()
    assert process.ended() == (3, "", [])


def test_without_input_and_output_pairchat_runs_all_the_same(
    node: ScriptedNode, start: Start, nursery: Nursery
) -> None:
    process = start("alice", "--to", "bob", launch=partial(nursery.start, closed=[0, 1]))
    alone(node.accept())
    assert process.ended() == (5, "", ["* there is nobody called bob"])


def test_output_that_is_full_is_told_and_the_text_not_acknowledged(node: ScriptedNode, start: Start) -> None:
    with Path("/dev/full").open("w") as full:
        process = start("alice", "--to", "bob", stdout=full)
    peer = node.accept()
    peer.welcome("alice")
    peer.pair("bob")
    peer.say(a_text(1, "hi"))
    peer.expect(QUIT)
    peer.say('{"type":"bye"}')
    assert process.ended() == (
        1,
        "",
        ["* You are chatting with bob.", "pairchat: can't write the output: No space left on device"],
    )


def test_frames_that_find_no_room_are_told_likewise(node: ScriptedNode, start: Start) -> None:
    with Path("/dev/full").open("w") as full:
        process = start("alice", "--json", stdout=full)
    peer = node.accept()
    peer.welcome("alice")
    peer.part()
    assert process.ended() == (1, "", ["pairchat: can't write the output: No space left on device"])


@pytest.mark.parametrize("asked", ["--help", "--version"])
def test_help_that_finds_no_room_too(start: Start, asked: str) -> None:
    with Path("/dev/full").open("w") as full:
        process = start(asked, stdout=full)
    assert process.ended() == (1, "", ["pairchat: can't write the output: No space left on device"])


@pytest.mark.parametrize("asked", ["--help", "--version"])
def test_help_whose_reader_has_had_enough_ends_without_a_word(start: Start, asked: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output:
        process = start(asked, stdout=output)
    assert process.ended() == (1, "", [])


def test_frames_whose_reader_has_had_enough_end_pairchat_without_a_word(node: ScriptedNode, start: Start) -> None:
    process = start("alice", "--json")
    process.stop_reading()
    peer = node.accept()
    peer.welcome("alice")
    peer.part()
    assert process.ended() == (1, "", [])


def test_an_input_that_cannot_be_read_is_told(start: Start) -> None:
    with Path("/proc/self/mem").open() as unreadable:
        process = start("alice", stdin=unreadable)
    assert process.ended() == (1, "", ["pairchat: can't read the input: Input/output error"])


def test_an_input_that_nohup_made_unreadable_is_empty(node: ScriptedNode, start: Start) -> None:
    with Path("/dev/null").open("w") as unreadable:
        process = start("alice", "--to", "bob", stdin=unreadable)
    alone(node.accept())
    assert process.ended() == (5, "", ["* there is nobody called bob"])


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_was_ignored_at_the_start_ends_nothing(
    node: ScriptedNode, start: Start, nursery: Nursery, number: signal.Signals
) -> None:
    process = start("alice", "--json", launch=partial(nursery.start, ignored=[number]))
    peer = node.accept()
    peer.welcome("alice")
    assert process.line()
    process.signal(number)
    process.type(b'{"type":"who","name":"bob"}\n')
    peer.expect({"type": "who", "name": "bob"})
    peer.say('{"type":"presence","name":"bob","state":"free"}')
    process.end_input()
    peer.part()
    status, out, told = process.ended()
    assert (status, told) == (0, [])
    assert '"free"' in out


def test_an_encoding_that_lacks_a_sign_does_not_matter(start: Start) -> None:
    status, out, told = start("--help", PYTHONIOENCODING="ascii", launch=fresh).ended()
    assert (status, told) == (0, [])
    assert "Usage: " in out


@pytest.fixture
def unread() -> Iterator[int]:
    """A full pipe that nobody reads."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(65_536))
    os.set_blocking(writing, True)
    yield writing
    os.close(reading)
    os.close(writing)


def test_standard_error_that_nobody_reads_holds_up_nothing(
    node: ScriptedNode, start: Start, nursery: Nursery, unread: int
) -> None:
    def launch(args: tuple[str, ...], environment: dict[str, str], streams: Streams, terminal: bool) -> Child:
        return nursery.start(args, environment, (*streams[:2], unread), terminal)

    process = start("alice", "--to", "bob", launch=launch)
    peer = node.accept()
    peer.welcome("alice")
    peer.pair("bob")
    peer.say(a_text(1, "hi"))
    assert process.line() == "bob: hi\n"
    process.signal(signal.SIGTERM)
    while peer.heard() != QUIT:
        pass
    peer.say('{"type":"bye"}')
    assert process.ended()[:2] == (128 + signal.SIGTERM, "")


@pytest.mark.anyio
async def test_notices_wait_for_a_reader_and_what_is_too_much_is_counted() -> None:
    reading, writing = os.pipe()
    notices, read = Notices(writing), b""
    for _ in range(3000):
        notices.say("x" * 999)

    async def read_until(enough: Callable[[], bool]) -> None:
        nonlocal read
        while not enough():
            await anyio.wait_readable(reading)
            read += os.read(reading, 65_536)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(notices.serve)
        await read_until(lambda: len(read) > 200_000)
        notices.say("last")
        await read_until(lambda: read.endswith(b"last\n"))
        tasks.cancel_scope.cancel()
    *said, counted, _ = read.decode().splitlines()
    assert set(said) == {"x" * 999}
    assert counted == f"* {3000 - len(said)} lines were left out here, because nobody read."
    os.close(reading)
    os.close(writing)


def test_a_dumb_terminal_gets_lines_and_no_escape_sequences(node: ScriptedNode, terminal: Open) -> None:
    screen = terminal("alice", "--to", "bob", TERM="dumb")
    peer = node.accept()
    peer.welcome("alice")
    peer.pair("bob")
    peer.say(a_text(1, "hi"))
    screen.wait_for("bob: hi")
    screen.type(CTRL_D)
    peer.expect({"type": "ack", "id": 1, "chat": "c1"})
    peer.part()
    assert screen.status() == 0
    assert b"\x1b" not in screen.raw
